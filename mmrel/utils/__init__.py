"""Help around the library: host packages, registration, configurations, launching."""

from mmrel.utils.errors import UsageError, reports_usage_errors
from mmrel.utils.hosts import check_hosts, require_host
from mmrel.utils.registration import register_all_modules

__all__ = [
    "UsageError",
    "check_hosts",
    "register_all_modules",
    "reports_usage_errors",
    "require_host",
]
