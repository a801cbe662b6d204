//! The graph of a physical plan that Spark draws: operators, which code generation they share, and who reads from whom.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::metric::{Kind, MetricValue};
use crate::event::sql::{Plan, PlanNode};
use crate::replay::intern;
use crate::table::{Rows, Value};

/// Spark's `SparkPlanGraph`.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// A node's id is its place.
    nodes: Vec<Node>,
    /// From child to parent, in the order in which Spark finds them.
    edges: Vec<(usize, usize)>,
}

#[derive(Debug)]
struct Node {
    name: Arc<str>,
    description: String,
    metrics: Vec<Metric>,
    /// Of the cluster around the node; its name may not say it.
    codegen_id: Option<i64>,
}

#[derive(Debug)]
struct Metric {
    name: Arc<str>,
    accumulator_id: i64,
    kind: Kind,
}

/// A place of the plan, and what stands around it.
#[derive(Clone, Copy)]
struct Visit {
    at: usize,
    parent: Option<usize>,
    cluster: Option<usize>,
}

impl Graph {
    /// Follows Spark's `buildSparkPlanGraphNode`, with a stack of its own. `None` where Spark fails: an operator that must have
    /// a child has none.
    pub(super) fn of(plan: &Plan<'_>, names: &mut HashSet<Arc<str>>) -> Option<Self> {
        let mut graph = Graph::default();
        let mut shared = Shared {
            plan,
            by_text: HashMap::new(),
        };
        let mut stack = vec![Visit {
            at: 0,
            parent: None,
            cluster: None,
        }];
        while let Some(visit) = stack.pop() {
            let node = plan.nodes.get(visit.at)?;
            let child = node.children.first().copied();
            let through = |cluster: Option<usize>| -> Option<Visit> {
                Some(Visit {
                    at: child?,
                    cluster,
                    ..visit
                })
            };
            match &*node.name {
                name if name.starts_with("WholeStageCodegen") => {
                    let cluster = graph.add(node, None, names);
                    stack.push(through(Some(cluster))?);
                }
                "InputAdapter" | "TableCacheQueryStage" | "ResultQueryStage" => stack.push(through(None)?),
                "BroadcastQueryStage" | "ShuffleQueryStage" => match shared.find(child?) {
                    Some(exchange) => graph.edges.push((exchange, visit.parent?)),
                    None => stack.push(through(None)?),
                },
                // A subquery stands outside of the generated code.
                "Subquery" if visit.cluster.is_some() => stack.push(Visit { cluster: None, ..visit }),
                "Subquery" if shared.find(visit.at).is_some() => {
                    let edge = (shared.find(visit.at)?, visit.parent?);
                    if !graph.edges.contains(&edge) {
                        graph.edges.push(edge);
                    }
                }
                "ReusedSubquery" => stack.push(through(visit.cluster)?),
                "ReusedExchange" if child.is_some_and(|child| shared.find(child).is_some()) => {
                    graph.edges.push((shared.find(child?)?, visit.parent?));
                }
                name => {
                    let id = graph.add(node, visit.cluster, names);
                    if name.contains("Exchange") || name == "Subquery" {
                        shared.insert(visit.at, id);
                    }
                    if let Some(parent) = visit.parent {
                        graph.edges.push((id, parent));
                    }
                    stack.extend(node.children.iter().rev().map(|child| Visit {
                        at: *child,
                        parent: Some(id),
                        cluster: visit.cluster,
                    }));
                }
            }
        }
        Some(graph)
    }

    fn add(&mut self, node: &PlanNode<'_>, cluster: Option<usize>, names: &mut HashSet<Arc<str>>) -> usize {
        let codegen_id = cluster.and_then(|cluster| {
            let name = self.nodes[cluster].name.strip_prefix("WholeStageCodegen (")?;
            name.strip_suffix(')')?.parse().ok()
        });
        let metrics = node.metrics.iter().map(|metric| Metric {
            name: intern(names, metric.name.trim()),
            accumulator_id: metric.accumulator_id,
            kind: Kind::of(&metric.metric_type),
        });
        self.nodes.push(Node {
            metrics: metrics.collect(),
            name: intern(names, node.name.trim()),
            description: node.simple_string.clone().into_owned(),
            codegen_id,
        });
        self.nodes.len() - 1
    }

    /// Kinds of all metrics of the plan, by accumulator.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (i64, Kind)> {
        let metrics = self.nodes.iter().flat_map(|node| &node.metrics);
        metrics.map(|metric| (metric.accumulator_id, metric.kind.clone()))
    }

    /// Rows of `sql_plan_nodes`, in the order of REST: the last node first. Metrics that were never set are left out, as there.
    pub(super) fn push_nodes(&self, key: (&str, &str, i64), values: &BTreeMap<i64, MetricValue>, rows: &mut Rows) {
        for (id, node) in self.nodes.iter().enumerate().rev() {
            let shown = node.metrics.iter().filter_map(|metric| {
                let value = values.get(&metric.accumulator_id)?;
                Some(value.as_value(&metric.name, &metric.kind))
            });
            rows.push(key.0).push(key.1).push(key.2).push(number(id));
            rows.push(&*node.name).push(node.codegen_id).push(&node.description);
            rows.push(Value::List(shown.collect()));
            rows.end_row();
        }
    }

    /// Rows of `sql_plan_edges`.
    pub(super) fn push_edges(&self, key: (&str, &str, i64), rows: &mut Rows) {
        for (at, (from, to)) in self.edges.iter().enumerate() {
            rows.push(key.0).push(key.1).push(key.2).push(number(at));
            rows.push(number(*from)).push(number(*to));
            rows.end_row();
        }
    }
}

fn number(place: usize) -> i64 {
    i64::try_from(place).expect("a plan lies in memory")
}

/// Exchanges and subqueries that have a node: equal ones share it.
struct Shared<'p, 'a> {
    plan: &'p Plan<'a>,
    /// Place in the plan and node, by the text of the operator.
    by_text: HashMap<&'p str, Vec<(usize, usize)>>,
}

impl Shared<'_, '_> {
    fn find(&self, at: usize) -> Option<usize> {
        let same_text = self.by_text.get(&*self.plan.nodes[at].simple_string)?;
        let found = same_text.iter().find(|(other, _)| self.plan.are_equal(at, *other));
        found.map(|(_, node)| *node)
    }

    fn insert(&mut self, at: usize, node: usize) {
        let same_text = self.by_text.entry(&*self.plan.nodes[at].simple_string).or_default();
        match same_text.iter_mut().find(|(other, _)| self.plan.are_equal(at, *other)) {
            Some((_, known)) => *known = node,
            None => same_text.push((at, node)),
        }
    }
}
