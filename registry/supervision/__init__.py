"""What a supervisor process does: it leads or stands by, watches over leases, and removes old activity."""
