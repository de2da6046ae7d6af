//! The dependency graph. petgraph is used here and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::Direction;
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

/// A graph of things that need each other, by index.
pub struct Needs {
    graph: DiGraph<(), ()>,
}

/// Things that need each other in a circle, by index.
#[derive(Debug, PartialEq, Eq)]
pub struct Cycle(pub Vec<usize>);

impl Needs {
    /// Returns a graph of `count` things in which each pair `(thing, need)` is an edge.
    pub fn new(count: usize, edges: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut graph = DiGraph::with_capacity(count, count * 2);
        let nodes: Vec<NodeIndex> = (0..count).map(|_| graph.add_node(())).collect();
        for (thing, need) in edges {
            graph.update_edge(nodes[need], nodes[thing], ());
        }
        Self { graph }
    }

    /// Returns the order in which every thing comes after its needs and otherwise in the order given, or a circle.
    pub fn order(&self) -> Result<Vec<usize>, Cycle> {
        let count = self.graph.node_count();
        let node = NodeIndex::new;
        let degree = |at: usize| self.graph.neighbors_directed(node(at), Direction::Incoming).count();
        let mut missing: Vec<usize> = (0..count).map(degree).collect();
        let mut ready: BTreeSet<usize> = (0..count).filter(|at| missing[*at] == 0).collect();
        let mut order = Vec::with_capacity(count);
        while let Some(at) = ready.pop_first() {
            order.push(at);
            for next in self.graph.neighbors_directed(node(at), Direction::Outgoing).map(NodeIndex::index) {
                missing[next] -= 1;
                if missing[next] == 0 {
                    ready.insert(next);
                }
            }
        }
        if order.len() == count { Ok(order) } else { Err(self.first_cycle()) }
    }

    fn first_cycle(&self) -> Cycle {
        let circles = tarjan_scc(&self.graph).into_iter().filter(|component| component.len() > 1);
        let mut members: Vec<usize> = circles.min().unwrap_or_default().into_iter().map(NodeIndex::index).collect();
        members.sort_unstable();
        Cycle(members)
    }
}

/// Returns edges by index for things that name their needs; needs that are not among the things are left out.
pub fn edges_by_index<K: Ord>(things: &[(K, Vec<K>)]) -> Vec<(usize, usize)> {
    let index: BTreeMap<&K, usize> = things.iter().enumerate().map(|(at, (key, _))| (key, at)).collect();
    let mut edges = Vec::new();
    for (at, (_, needs)) in things.iter().enumerate() {
        edges.extend(needs.iter().filter_map(|need| index.get(need)).map(|need| (at, *need)));
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_come_first() {
        let order = Needs::new(3, [(0, 1), (1, 2)]).order();
        assert_eq!(order, Ok(vec![2, 1, 0]));
    }

    #[test]
    fn a_circle_is_named_whole() {
        assert_eq!(Needs::new(3, [(0, 1), (1, 2), (2, 0)]).order(), Err(Cycle(vec![0, 1, 2])));
    }
}
