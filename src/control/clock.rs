//! Wall-clock time for records.

use std::time::SystemTime;

/// Now, RFC 3339 in UTC with milliseconds.
pub(super) fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
