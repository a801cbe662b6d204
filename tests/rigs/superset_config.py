# Settings of a throw-away Superset for tests.
import os

SECRET_KEY = "of-a-test-that-keeps-nothing-0123456789abcdef"
SQLALCHEMY_DATABASE_URI = "sqlite:///" + os.environ["SUPERSET_DIRECTORY"] + "/superset.db"
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
PREVENT_UNSAFE_DB_CONNECTIONS = False
CACHE_CONFIG = {"CACHE_TYPE": "NullCache"}
DATA_CACHE_CONFIG = CACHE_CONFIG
SQLLAB_BACKEND_PERSISTENCE = False
# Superset may ask what a statement costs where a database is told so.
FEATURE_FLAGS = {"ESTIMATE_QUERY_COST": True}
