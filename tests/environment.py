"""Settings of every process in a test, whatever the environment of this machine."""

SETTINGS = {
    "SECRET_KEY": "only for tests",
    "SECRETS_ENCRYPTION_KEY": "ab" * 32,
    "DEBUG": "true",  # no HTTPS on a test client; pytest-django turns the setting itself off
    "ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
    "CORS_ORIGINS": "http://localhost:3000",
    "MOLECULE_READ_ENV_FILE": "false",
    "MOLECULE_OPEN": "false",
    "MOLECULE_ENROLMENT": "token",
    "RATE_LIMIT": "1000000",
    "RATE_LIMIT_HEARTBEATS": "1000000",
    "RATE_LIMIT_STRANGERS": "1000000",
    "RATE_LIMIT_CHANGES": "1000000",
    "RUNTIME_BACKEND": "",
    "LOG_LEVEL": "WARNING",
    "DATABASE_OWNER_URL": "",
    "PYTHONDONTWRITEBYTECODE": "",  # else each process that a test starts compiles the product
}
