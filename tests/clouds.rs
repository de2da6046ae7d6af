//! Fleets on a cloud: what a plan of them says, and what becomes of them when something goes wrong. The cloud is simulated
//! on the wire; seeds of bad luck are the duty of `faults`, kills that of `kills`.

mod faults;
mod kills;
mod lab;
mod story;

use self::lab::{CloudLab, FOUR, NONE};

#[test]
fn a_fleet_comes_up_on_machines_of_a_cloud_and_goes_without_a_trace() {
    let mut lab = CloudLab::new(FOUR);
    let others = lab.foreign();
    lab.apply().ok();
    lab.converged();
    lab.becomes(NONE).allow(&["pete", "judy", "shared", "joe", "mia"]);
    lab.apply().ok();
    lab.converged();
    assert_eq!(lab.marked(), [""; 0]);
    assert_eq!(lab.touched(&others), None);
}
