"""Who is calling: tokens, enrolment, authentication, rate limits."""
