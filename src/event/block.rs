//! `SparkListenerBlockUpdated`, `SparkListenerUnpersistRDD`.

use serde::Deserialize;

use super::Text;
use super::executor::BlockManagerId;
use super::stage::StorageLevel;

#[derive(Debug, Deserialize)]
pub struct BlockUpdated<'a> {
    #[serde(borrow, rename = "Block Updated Info")]
    pub info: BlockUpdatedInfo<'a>,
}

#[derive(Debug, Deserialize)]
pub struct BlockUpdatedInfo<'a> {
    #[serde(borrow, rename = "Block Manager ID")]
    pub manager: BlockManagerId<'a>,
    #[serde(borrow, rename = "Block ID")]
    pub block_id: Text<'a>,
    #[serde(rename = "Storage Level")]
    pub storage_level: StorageLevel,
    #[serde(rename = "Memory Size")]
    pub memory_size: i64,
    #[serde(rename = "Disk Size")]
    pub disk_size: i64,
}

/// What a block belongs to, from its name (Spark's `BlockId.apply`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    Rdd { rdd_id: i32 },
    Broadcast,
    Other,
}

impl BlockKind {
    pub fn of(block_id: &str) -> Self {
        if let Some(rest) = block_id.strip_prefix("rdd_")
            && let Some((rdd, split)) = rest.split_once('_')
            && let (Ok(rdd_id), Ok(_)) = (rdd.parse(), split.parse::<i32>())
        {
            BlockKind::Rdd { rdd_id }
        } else if block_id.starts_with("broadcast_") {
            BlockKind::Broadcast
        } else {
            BlockKind::Other
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct UnpersistRdd {
    #[serde(rename = "RDD ID")]
    pub rdd_id: i32,
}
