"""Every environment variable is read once, here. docs/configuration.md lists them."""

import ipaddress
import os
import re
from datetime import timedelta
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
STATE_DIR = Path(os.environ.get("MOLECULE_STATE") or BASE_DIR / ".molecule")

# FileAwareEnv: NAME_FILE=/run/secrets/name is read in place of NAME.
env = environ.FileAwareEnv()
if env.bool("MOLECULE_READ_ENV_FILE", True):
    # `make run` writes `env` on its first start and `engines` while it runs. Variables that are already set win.
    for name in ("env", "engines"):
        if (STATE_DIR / name).exists():
            env.read_env(str(STATE_DIR / name))


def required(name: str) -> str:
    try:
        return str(env.str(name))
    except ImproperlyConfigured:
        raise ImproperlyConfigured(
            f"{name} is not set. `make run` sets up everything for development; "
            "docs/configuration.md lists what a deployment needs."
        ) from None


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# --- The process -------------------------------------------------------------------------------------
DEBUG = env.bool("DEBUG", False)
SECRET_KEY = required("SECRET_KEY")
HOST = env.str("HOST", "127.0.0.1")
PORT = env.int("PORT", 8000)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"] if DEBUG else [])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
CORS_ALLOWED_ORIGINS = env.list(
    "CORS_ORIGINS", default=["http://localhost:3000", "http://localhost:3001"] if DEBUG else []
)
# "" or a path such as "/molecule". Django puts it before every URL that it makes; molecule/sub_path.py takes it off.
FORCE_SCRIPT_NAME = "/{}".format(env.str("FORCE_SCRIPT_NAME", "").strip("/")).rstrip("/")
# Until the next release, for both of the settings below.
SECURE_PROXY = env.bool("SECURE_PROXY", False)
PROXY_SCHEME = env.bool("PROXY_SCHEME", SECURE_PROXY)
PROXY_ADDRESSES = env.int("PROXY_ADDRESSES", int(SECURE_PROXY))
LOG_LEVEL = env.str("LOG_LEVEL", "INFO")

# --- The engines -------------------------------------------------------------------------------------
DATABASE_URL = required("DATABASE_URL")
DATABASE_OWNER_URL = env.str("DATABASE_OWNER_URL", "")
DATABASE_POOL_SIZE = env.int("DATABASE_POOL_SIZE", 20)
# For each statement of a batch of heartbeats or activity, whose thread serves all agents.
BATCH_LOCK_SECONDS = env.float("BATCH_LOCK_SECONDS", 1.0)
# Of web processes only. Commands have no limits, supervisors their own: registry/supervision/process.py.
WEB_QUEUE_SECONDS = env.float("WEB_QUEUE_SECONDS", 2.0)
WEB_CONNECT_SECONDS = env.float("WEB_CONNECT_SECONDS", 2.0)
WEB_LOCK_SECONDS = env.float("WEB_LOCK_SECONDS", 2.0)
WEB_STATEMENT_SECONDS = env.float("WEB_STATEMENT_SECONDS", 10.0)
MIGRATION_LOCK_SECONDS = env.float("MIGRATION_LOCK_SECONDS", 2.0)
MIGRATION_TRIES = env.int("MIGRATION_TRIES", 60)
READY_SECONDS = env.float("READY_SECONDS", 3.0)
REDIS_URL = required("REDIS_URL")

# --- Molecule ----------------------------------------------------------------------------------------
MOLECULE_OPEN = env.bool("MOLECULE_OPEN", False)
MOLECULE_ENROLMENT = env.str("MOLECULE_ENROLMENT", "open" if DEBUG and is_loopback(HOST) else "token")
SECRETS_ENCRYPTION_KEY = env.str("SECRETS_ENCRYPTION_KEY", "")
LEASE_SECONDS = env.float("LEASE_SECONDS", 60.0)
URL_CACHE_SECONDS = env.int("URL_CACHE_SECONDS", 300)
PROVISIONING_SECONDS = env.float("PROVISIONING_SECONDS", 180.0)
FLAPPING_TIMES = env.int("FLAPPING_TIMES", 3)
FLAPPING_MINUTES = env.float("FLAPPING_MINUTES", 15.0)
ENROLMENT_TOKEN_SECONDS = env.float("ENROLMENT_TOKEN_SECONDS", 86400.0)
ACTIVITY_RETENTION_DAYS = env.float("ACTIVITY_RETENTION_DAYS", 7.0)
ACTIVITY_CLEANUP_INTERVAL_HOURS = env.float("ACTIVITY_CLEANUP_INTERVAL_HOURS", 6.0)
LOGIN_RETENTION_DAYS = env.float("LOGIN_RETENTION_DAYS", 30.0)
TOKEN_RETENTION_DAYS = env.float("TOKEN_RETENTION_DAYS", 90.0)
SECRET_ACCESS_RETENTION_DAYS = env.float("SECRET_ACCESS_RETENTION_DAYS", 365.0)
TRANSFER_RETENTION_DAYS = env.float("TRANSFER_RETENTION_DAYS", 365.0)
AGENT_TEMPLATES_DIR = env.str("AGENT_TEMPLATES_DIR", str(BASE_DIR / "examples" / "templates"))
ORG_TEMPLATES_DIR = env.str("ORG_TEMPLATES_DIR", str(BASE_DIR / "examples" / "org-templates"))
# "" or "process". See docs/runtime.md.
RUNTIME_BACKEND = env.str("RUNTIME_BACKEND", "")
RUNTIME_CONCURRENCY = env.int("RUNTIME_CONCURRENCY", 4)
RUNTIME_RESTART_ON_CHANGE = env.bool("RUNTIME_RESTART_ON_CHANGE", False)
RUNTIME_ALLOW_PRIVILEGED = env.bool("RUNTIME_ALLOW_PRIVILEGED", False)
RUNTIME_ALLOW_HOST = env.bool("RUNTIME_ALLOW_HOST", False)
METRICS_TOKEN = env.str("METRICS_TOKEN", "")
RATE_LIMIT = env.int("RATE_LIMIT", 1200)
RATE_LIMIT_HEARTBEATS = env.int("RATE_LIMIT_HEARTBEATS", 240)
RATE_LIMIT_STRANGERS = env.int("RATE_LIMIT_STRANGERS", 120)
RATE_LIMIT_CHANGES = env.int("RATE_LIMIT_CHANGES", 10)
OUTBOUND_NETWORKS = env.list("OUTBOUND_NETWORKS", default=["127.0.0.0/8", "::1/128"] if DEBUG else [])
LOGIN_ATTEMPTS = env.int("LOGIN_ATTEMPTS", 10)
LOGIN_LOCK_MINUTES = env.int("LOGIN_LOCK_MINUTES", 15)
LOGIN_ADDRESS_FAILURES = env.int("LOGIN_ADDRESS_FAILURES", 20)
LOGIN_ADDRESS_MINUTES = env.int("LOGIN_ADDRESS_MINUTES", 10)
LOGIN_QUEUE = env.int("LOGIN_QUEUE", 3)
MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", 1024 * 1024)
MAX_FILES_BODY_BYTES = env.int("MAX_FILES_BODY_BYTES", 32 * 1024 * 1024)
# Django's own limit for the fields of a form; molecule.limits has that of each route.
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_FILES_BODY_BYTES
MAX_STRANGER_BODY_BYTES = env.int("MAX_STRANGER_BODY_BYTES", 64 * 1024)
MAX_HEARTBEAT_BYTES = env.int("MAX_HEARTBEAT_BYTES", 64 * 1024)
MAX_REGISTRATION_BYTES = env.int("MAX_REGISTRATION_BYTES", 256 * 1024)
MAX_CARD_BYTES = env.int("MAX_CARD_BYTES", 64 * 1024)
MAX_JSON_VALUES = env.int("MAX_JSON_VALUES", 20_000)
SOCKET_UNSENT_BYTES = env.int("SOCKET_UNSENT_BYTES", 1024 * 1024)
SOCKET_HANDSHAKE_SECONDS = env.float("SOCKET_HANDSHAKE_SECONDS", 5.0)
MAX_PAGE_BYTES = env.int("MAX_PAGE_BYTES", 4 * 1024 * 1024)
MAX_REPLAY_BYTES = env.int("MAX_REPLAY_BYTES", 1024 * 1024)

INSTALLED_APPS = [
    "molecule.apps.MoleculeAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "corsheaders",
    "rest_framework",
    "drf_spectacular",
    "channels",
    "activity",
    "registry",
    "canvas",
    "molecule.apps.MoleculeConfig",
]

MIDDLEWARE = [
    "molecule.redirects.WarnOfEndlessRedirect",
    "django.middleware.security.SecurityMiddleware",
    "molecule.headers.SecurityHeaders",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "molecule.probes.HostCheck",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
    "molecule.error_pages.ErrorPages",
]

ROOT_URLCONF = "molecule.urls"
CSRF_FAILURE_VIEW = "molecule.error_pages.csrf_failure"
ASGI_APPLICATION = "molecule.asgi.application"
APPEND_SLASH = False
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "canvas"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": environ.Env.db_url_config(DATABASE_URL)}
DATABASES["default"]["ENGINE"] = "activity.postgresql"
# A network that drops all packets, as in a failover, is noticed within ten seconds; the kernel alone takes 15 minutes.
# Options in DATABASE_URL win; Unix sockets ignore these.
NETWORK = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 1,
    "keepalives_count": 5,
}
DATABASES["default"]["OPTIONS"] = NETWORK | DATABASES["default"].get("OPTIONS", {})
DATABASE_ROLE = DATABASES["default"]["USER"]
# What differs for the role that owns the tables; empty where one role does all. See activity/roles.py.
DATABASE_OWNER = environ.Env.db_url_config(DATABASE_OWNER_URL) if DATABASE_OWNER_URL else {}
if DATABASE_OWNER:
    DATABASE_OWNER["OPTIONS"] = NETWORK | DATABASE_OWNER.get("OPTIONS", {})
DATABASES["default"]["OPTIONS"]["pool"] = {
    "min_size": 1,
    "max_size": DATABASE_POOL_SIZE,
    "timeout": 5,
    # While PostgreSQL is down the pool retries ever later. One second makes each request try to connect itself.
    "reconnect_timeout": 1,
}
# After a restart of PostgreSQL the pool hands out no connection from before it.
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
# A process that hangs inside a transaction keeps its locks, the one on the log among them.
DATABASES["default"]["OPTIONS"]["options"] = " ".join(
    [*filter(None, [DATABASES["default"]["OPTIONS"].get("options")]), "-c idle_in_transaction_session_timeout=10s"]
)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL]},
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["registry.identity.authentication.CredentialAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["molecule.policy.Policy"],
    "DEFAULT_THROTTLE_CLASSES": ["registry.identity.throttling.CredentialThrottle"],
    "DEFAULT_PARSER_CLASSES": ["activity.wire.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["activity.wire.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "activity.wire.AlwaysJSON",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "molecule.refusals.handle_exception",
    "URL_FORMAT_OVERRIDE": None,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Molecule",
    "DESCRIPTION": "The control plane for organisations of AI agents.",
    "VERSION": "0.1.0",
    "SERVERS": [{"url": FORCE_SCRIPT_NAME}] if FORCE_SCRIPT_NAME else [],
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SERVE_PERMISSIONS": ["molecule.policy.Policy"],
    "ENUM_NAME_OVERRIDES": {
        "WorkspaceStatus": "registry.models.Status",
        "ActivityStatus": "activity.models.ActivityStatus",
    },
}

CORS_ALLOW_CREDENTIALS = True
CORS_ALLOW_HEADERS = ["origin", "content-type", "authorization", "if-match", "if-none-match", "x-workspace-id"]
CORS_EXPOSE_HEADERS = ["ETag", "Link", "X-Event-Seq", "X-Event-ID", "X-Server-Time", "Retry-After"]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

# Failed logins count per account and address together, so one person cannot lock another's account.
AUTHENTICATION_BACKENDS = ["registry.identity.logins.LoginGuard", "django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = ["registry.identity.logins.SerialPBKDF2PasswordHasher"]
AXES_FAILURE_LIMIT = LOGIN_ATTEMPTS
AXES_COOLOFF_TIME = timedelta(minutes=LOGIN_LOCK_MINUTES)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
# Attempts during a lock are not looked at, and do not prolong it.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_CLIENT_IP_CALLABLE = "registry.identity.logins.address_of"
AXES_USERNAME_CALLABLE = "registry.identity.logins.account_of"
AXES_LOCKOUT_CALLABLE = "molecule.error_pages.locked_out"
AXES_VERBOSE = False
AXES_ENABLE_ADMIN = False

SESSION_ENGINE = "registry.identity.session_store"
SESSION_COOKIE_HTTPONLY = True
# Without a slash at its end, so that browsers send the cookies with that path, too.
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = FORCE_SCRIPT_NAME or "/"
# Below a sub-path the names differ from those of another Django application on the site, whose cookies would win.
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = (
    name + FORCE_SCRIPT_NAME.replace("/", "_") for name in ("sessionid", "csrftoken")
)
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = not DEBUG
# Exact paths, which orchestrators and Prometheus request by address and over plain HTTP: see molecule/probes.py.
READY_PATH = "/health/ready"
PROBE_PATHS = ("/health", READY_PATH, "/metrics")
SECURE_REDIRECT_EXEMPT = [rf"\A{re.escape(f'{FORCE_SCRIPT_NAME}{path}'[1:])}\Z" for path in PROBE_PATHS]
SECURE_HSTS_SECONDS = 0 if DEBUG else 31536000
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not DEBUG
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PROXY_SCHEME else None
# Not in a cookie, whose path would be the whole site.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
X_FRAME_OPTIONS = "DENY"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = f"{FORCE_SCRIPT_NAME}/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "molecule.staticfiles.ModuleStaticFilesStorage"
    },
}

DEFAULT_EXCEPTION_REPORTER_FILTER = "molecule.error_reports.HideValues"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "filters": {"routes": {"()": "molecule.log_filters.RoutesForPaths"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django.request": {"filters": ["routes"]},
        "django.security.csrf": {"filters": ["routes"]},
        "httpx": {"level": "WARNING"},
        "axes": {"level": "WARNING"},
        "uvicorn.access": {"level": "WARNING"},
    },
}
