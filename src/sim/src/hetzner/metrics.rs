//! What servers measure of themselves. The numbers are made up: the same for the same server and second.

use serde_json::{Map, Value as Json, json};

use super::answer::Reply;
use super::body::Request;
use super::refusal::Refusal;
use super::state::{Server, Status};
use super::{Cloud, mix};

/// The longest time that is looked back, in seconds.
const SPAN_MAX: i64 = 30 * 24 * 60 * 60;
/// Samples where a request does not say, and the most there are.
const SAMPLES: i64 = 200;
const SAMPLES_MAX: i64 = 500;

impl Cloud {
    pub(super) fn server_metrics(&self, id: &str, request: &Request) -> Result<Reply, Refusal> {
        let server = self.server(id)?;
        let moment = |name: &str| {
            let text = request.first(name).ok_or_else(|| Refusal::invalid(name, "missing data for required field"))?;
            let parsed = text.parse::<jiff::Timestamp>().map_err(|_| Refusal::invalid(name, "not a moment (ISO 8601)"));
            parsed.map(jiff::Timestamp::as_second)
        };
        let (start, end) = (moment("start")?, moment("end")?);
        if start >= end || end - start > SPAN_MAX {
            return Err(Refusal::invalid("end", "must be after start, and within 30 days of it"));
        }
        let step = match request.first("step") {
            Some(text) => text.parse().map_err(|_| Refusal::invalid("step", "not a number"))?,
            None => (end - start) / SAMPLES,
        };
        let step = step.max((end - start).div_euclid(SAMPLES_MAX)).max(1);
        let kinds: Vec<&str> = request.all("type").into_iter().flat_map(|list| list.split(',')).collect();
        if kinds.is_empty() {
            return Err(Refusal::invalid("type", "missing data for required field"));
        }
        let mut series = Map::new();
        for kind in kinds {
            for name in names(kind)? {
                let samples = (0..).map(|nth| start + nth * step).take_while(|at| *at < end);
                let values: Vec<Json> = samples.map(|at| json!([at, measure(server, name, at)])).collect();
                series.insert((*name).to_owned(), json!({ "values": values }));
            }
        }
        let [start, end] = ["start", "end"].map(|name| request.first(name));
        let metrics = json!({ "start": start, "end": end, "step": step, "time_series": series });
        Ok(Reply::new(200, json!({ "metrics": metrics })))
    }
}

fn names(kind: &str) -> Result<&'static [&'static str], Refusal> {
    match kind {
        "cpu" => Ok(&["cpu"]),
        "disk" => Ok(&["disk.0.iops.read", "disk.0.iops.write", "disk.0.bandwidth.read", "disk.0.bandwidth.write"]),
        "network" => {
            Ok(&["network.0.pps.in", "network.0.pps.out", "network.0.bandwidth.in", "network.0.bandwidth.out"])
        }
        _ => Err(Refusal::invalid("type", "must be cpu, disk or network")),
    }
}

/// Returns a number as the API writes it, as text; a server that is not running measures nothing.
fn measure(server: &Server, name: &str, at: i64) -> String {
    if server.status != Status::Running {
        return "0".to_owned();
    }
    let seed = name.bytes().fold(mix(server.id ^ at.unsigned_abs()), |hash, byte| mix(hash ^ u64::from(byte)));
    let most = if name.contains("bandwidth") { 100_000 } else { 20 };
    format!("{}.{:04}", (seed >> 32) % most, seed % 10_000)
}
