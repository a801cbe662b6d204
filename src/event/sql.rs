//! Events of Spark SQL: executions, their physical plans, and metrics that the driver sets.
//!
//! Jackson writes them field by field. A plan nests two levels of JSON for each operator, and real plans are deeper than
//! `serde_json` nests: [`Plan`] is read a few levels at a time into a flat list, so that no plan is too deep for the stack.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use super::{Properties, Text};

#[derive(Debug, Deserialize)]
pub struct ExecutionStart<'a> {
    #[serde(rename = "executionId")]
    pub execution_id: i64,
    /// Since Spark 3.4.
    #[serde(rename = "rootExecutionId", default)]
    pub root_execution_id: Option<i64>,
    #[serde(borrow)]
    pub description: Option<Text<'a>>,
    #[serde(borrow)]
    pub details: Option<Text<'a>>,
    #[serde(borrow, rename = "physicalPlanDescription")]
    pub plan_description: Option<Text<'a>>,
    #[serde(borrow, rename = "sparkPlanInfo", deserialize_with = "plan")]
    pub plan: Plan<'a>,
    /// Milliseconds since the epoch.
    pub time: i64,
    /// Since Spark 3.3; Spark has redacted it.
    #[serde(borrow, rename = "modifiedConfigs", default)]
    pub modified_configs: Option<Properties<'a>>,
    /// Since Spark 3.5.
    #[serde(borrow, rename = "jobTags", default)]
    pub job_tags: Option<Vec<Text<'a>>>,
}

#[derive(Debug, Deserialize)]
pub struct ExecutionEnd<'a> {
    #[serde(rename = "executionId")]
    pub execution_id: i64,
    pub time: i64,
    /// Since Spark 3.4: empty where there was no error.
    #[serde(borrow, rename = "errorMessage", default)]
    pub error_message: Option<Text<'a>>,
}

/// Adaptive execution changed the plan.
#[derive(Debug, Deserialize)]
pub struct AdaptiveExecutionUpdate<'a> {
    #[serde(rename = "executionId")]
    pub execution_id: i64,
    #[serde(borrow, rename = "physicalPlanDescription")]
    pub plan_description: Option<Text<'a>>,
    #[serde(borrow, rename = "sparkPlanInfo", deserialize_with = "plan")]
    pub plan: Plan<'a>,
}

/// Adaptive execution made metrics that are in no plan yet, those of subqueries.
#[derive(Debug, Deserialize)]
pub struct AdaptiveMetricUpdates<'a> {
    #[serde(rename = "executionId")]
    pub execution_id: i64,
    #[serde(borrow, rename = "sqlPlanMetrics")]
    pub metrics: Vec<PlanMetric<'a>>,
}

/// Metrics that the driver sets, by accumulator.
#[derive(Debug, Deserialize)]
pub struct DriverAccumUpdates {
    #[serde(rename = "executionId")]
    pub execution_id: i64,
    #[serde(rename = "accumUpdates")]
    pub updates: Vec<(i64, i64)>,
}

/// A metric of an operator: its value is that of an accumulator.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PlanMetric<'a> {
    #[serde(borrow)]
    pub name: Text<'a>,
    #[serde(rename = "accumulatorId")]
    pub accumulator_id: i64,
    #[serde(borrow, rename = "metricType")]
    pub metric_type: Text<'a>,
}

/// A physical plan as Spark's `SparkPlanInfo` has it. The root is the first node.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    pub nodes: Vec<PlanNode<'a>>,
}

#[derive(Debug, Default)]
pub struct PlanNode<'a> {
    pub name: Text<'a>,
    pub simple_string: Text<'a>,
    /// Positions in [`Plan::nodes`].
    pub children: Vec<usize>,
    pub metrics: Vec<PlanMetric<'a>>,
}

/// Operators read by one call of the parser: two levels of JSON each, far below the 128 that `serde_json` allows.
const LEVELS_AT_ONCE: usize = 24;

fn plan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Plan<'de>, D::Error> {
    let root = <&'de RawValue>::deserialize(deserializer)?;
    Plan::parse(root).map_err(de::Error::custom)
}

impl<'a> Plan<'a> {
    fn parse(root: &'a RawValue) -> Result<Self, serde_json::Error> {
        let mut reading = Reading::default();
        let node = Node {
            reading: &mut reading,
            levels: LEVELS_AT_ONCE,
        };
        node.deserialize(&mut serde_json::Deserializer::from_str(root.get()))?;
        while let Some((parent, children)) = reading.deferred.pop() {
            let children_of = Children {
                reading: &mut reading,
                parent,
                levels: LEVELS_AT_ONCE,
            };
            children_of.deserialize(&mut serde_json::Deserializer::from_str(children.get()))?;
        }
        Ok(Plan { nodes: reading.nodes })
    }

    /// Whether two operators are the same for Spark: `SparkPlanInfo.equals`.
    pub fn are_equal(&self, left: usize, right: usize) -> bool {
        let mut pairs = vec![(left, right)];
        while let Some((left, right)) = pairs.pop() {
            if left == right {
                continue;
            }
            let (left, right) = (&self.nodes[left], &self.nodes[right]);
            let same = left.name == right.name
                && left.simple_string == right.simple_string
                && left.children.len() == right.children.len();
            if !same {
                return false;
            }
            pairs.extend(left.children.iter().copied().zip(right.children.iter().copied()));
        }
        true
    }
}

/// A plan while it is read: the nodes so far, and lists of children that lie too deep to be read by the same call.
#[derive(Default)]
struct Reading<'a> {
    nodes: Vec<PlanNode<'a>>,
    deferred: Vec<(usize, &'a RawValue)>,
}

/// Reads one node with its children, and gives its position.
struct Node<'r, 'a> {
    reading: &'r mut Reading<'a>,
    levels: usize,
}

impl<'a> DeserializeSeed<'a> for Node<'_, 'a> {
    type Value = usize;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Node<'_, 'a> {
    type Value = usize;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an operator of a plan")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<usize, A::Error> {
        let at = self.reading.nodes.len();
        self.reading.nodes.push(PlanNode::default());
        while let Some(key) = map.next_key::<Text<'a>>()? {
            match &*key {
                "nodeName" => self.reading.nodes[at].name = map.next_value::<Borrowed<'a>>()?.0,
                "simpleString" => self.reading.nodes[at].simple_string = map.next_value::<Borrowed<'a>>()?.0,
                "metrics" => {
                    let metrics: Option<Vec<PlanMetric<'a>>> = map.next_value()?;
                    self.reading.nodes[at].metrics = metrics.unwrap_or_default();
                }
                "children" if self.levels == 0 => {
                    let children = map.next_value::<&'a RawValue>()?;
                    self.reading.deferred.push((at, children));
                }
                "children" => map.next_value_seed(Children {
                    reading: self.reading,
                    parent: at,
                    levels: self.levels - 1,
                })?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(at)
    }
}

/// Reads the children of a node.
struct Children<'r, 'a> {
    reading: &'r mut Reading<'a>,
    parent: usize,
    levels: usize,
}

impl<'a> DeserializeSeed<'a> for Children<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for Children<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the children of an operator")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        loop {
            let node = Node {
                reading: &mut *self.reading,
                levels: self.levels,
            };
            let Some(child) = seq.next_element_seed(node)? else {
                return Ok(());
            };
            self.reading.nodes[self.parent].children.push(child);
        }
    }
}

/// A text that borrows where it can; `Cow` alone never does when it is deserialized by itself.
#[derive(Deserialize)]
struct Borrowed<'a>(#[serde(borrow, deserialize_with = "text_or_null")] Text<'a>);

fn text_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Text<'de>, D::Error> {
    #[derive(Deserialize)]
    struct Inner<'a>(#[serde(borrow)] Text<'a>);
    Ok(Option::<Inner<'de>>::deserialize(deserializer)?
        .map(|inner| inner.0)
        .unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Plan<'_> {
        Plan::parse(serde_json::from_str(json).unwrap()).unwrap()
    }

    #[test]
    fn a_plan_deeper_than_the_parser_nests_is_read_whole_and_in_order() {
        let depth = 2_000;
        let mut json = String::new();
        for level in 0..depth {
            json += &format!(r#"{{"nodeName":"n{level}","simpleString":"s\"{level}","children":["#);
        }
        json += &"],\"metadata\":{},\"metrics\":[]}".repeat(depth);
        let plan = parse(&json);
        assert_eq!(plan.nodes.len(), depth);
        let mut at = 0;
        for level in 0..depth {
            assert_eq!(plan.nodes[at].name, format!("n{level}"));
            assert_eq!(plan.nodes[at].simple_string, format!("s\"{level}"));
            at = plan.nodes[at].children.first().copied().unwrap_or(0);
        }
        assert_eq!(at, 0, "the last one has no child");
    }

    #[test]
    fn operators_with_equal_names_texts_and_children_are_equal() {
        let scan = r#"{"nodeName":"Scan","simpleString":"s","children":[],"metrics":[{"name":"m","accumulatorId":1,"metricType":"sum"}]}"#;
        let other = r#"{"nodeName":"Scan","simpleString":"t","children":[],"metrics":[]}"#;
        let exchange =
            |child: &str| format!(r#"{{"nodeName":"E","simpleString":"e","children":[{child}],"metrics":[]}}"#);
        let json = format!(
            r#"{{"nodeName":"U","simpleString":"u","children":[{},{},{}]}}"#,
            exchange(scan),
            exchange(scan),
            exchange(other)
        );
        let plan = parse(&json);
        let [a, b, c] = plan.nodes[0].children[..] else {
            panic!("three children")
        };
        assert!(plan.are_equal(a, b));
        assert!(!plan.are_equal(a, c));
    }
}
