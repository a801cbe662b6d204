//! Object stores: S3 and what speaks its protocol, Google's and Azure's.

use super::{OpenError, Opened};
use crate::config::StorageConfig;

pub(super) fn open(scheme: &str, _rest: &str, _storage: &StorageConfig) -> Result<Opened, OpenError> {
    Err(OpenError::NotBuilt {
        scheme: scheme.to_owned(),
    })
}
