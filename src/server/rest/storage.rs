//! `storage/rdd`: cached RDDs with where their partitions lie.

use arrow::array::RecordBatch;
use datafusion::scalar::ScalarValue;

use super::answer::{Failure, JsonBody};
use super::rows::{Cursor, Rows, id};
use super::{Attempt, Rest};

const RDDS: &str = include_str!("../../../sql/rest/rdds.sql");
const PARTITIONS: &str = include_str!("../../../sql/rest/rdd_partitions.sql");

impl Rest {
    pub(super) async fn rdds(&self, attempt: &Attempt, body: &mut JsonBody) -> Result<(), Failure> {
        let all = attempt.params([ScalarValue::Int32(None)]);
        let mut rdds = self.rows(RDDS, all.clone()).await?;
        let mut partitions = Cursor::of(self.rows(PARTITIONS, all).await?, "@rddId");
        body.json.begin_array();
        while let Some(batch) = rdds.next().await? {
            for row in 0..batch.num_rows() {
                body.json.element();
                write_rdd(body, &rdds, &batch, row, &mut partitions).await?;
            }
        }
        body.json.end_array();
        Ok(())
    }

    pub(super) async fn rdd(&self, attempt: &Attempt, rdd_id: i32, body: &mut JsonBody) -> Result<(), Failure> {
        let mut rdds = self.rows(RDDS, attempt.params([rdd_id.into()])).await?;
        let Some(batch) = rdds.next().await? else {
            return Err(Failure::not_found(format!("no rdd found w/ id {rdd_id}")));
        };
        let partitions = self.rows(PARTITIONS, attempt.params([rdd_id.into()])).await?;
        write_rdd(body, &rdds, &batch, 0, &mut Cursor::of(partitions, "@rddId")).await
    }
}

async fn write_rdd(
    body: &mut JsonBody,
    rdds: &Rows,
    batch: &RecordBatch,
    row: usize,
    partitions: &mut Cursor,
) -> Result<(), Failure> {
    let rdd_id = id(batch, "id", row);
    body.json.begin_object();
    rdds.shape.members(&mut body.json, batch, row);
    body.json.key("partitions");
    body.json.begin_array();
    // Both are sorted by RDD; those of RDDs that are not shown are passed over.
    while partitions.is_of(rdd_id).await? {
        body.json.element();
        partitions.write(&mut body.json, |_, _, _| {});
        body.flush().await?;
    }
    body.json.end_array();
    body.json.end_object();
    Ok(())
}
