"""Who is calling: tokens, enrolment, authentication and rate limits."""
