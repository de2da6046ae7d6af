//! Where the machine of a host is, and its pins, which stand in its labels.

use std::collections::BTreeMap;
use std::sync::Arc;

use claw_core::machine::{Found, Locate, Pins, Whereabouts};
use claw_core::provider::{ApplyError, BoxFuture, Class};
use claw_core::text::clean;

use crate::client::Client;
use crate::names::{BORN, PIN, PIN_NEXT};
use crate::observe::own_ipv6;
use crate::ops::Update;
use crate::project::Project;
use crate::wire::{Labels, Server, ServerStatus};

/// What the label says while the host key is the one from the user data.
const YES: &str = "yes";

/// The machine of one host.
pub struct Machine {
    pub project: Arc<Project>,
    /// The host's id.
    pub id: String,
}

impl Machine {
    async fn whereabouts(&self) -> Result<Whereabouts, String> {
        // why is said where the cloud itself is told of
        let servers =
            self.project.servers(false).await.map_err(|_| format!("{} could not be seen", self.project.place))?;
        let server = match servers.get(&self.id).map(Vec::as_slice) {
            None | Some([]) => return Ok(Whereabouts::Nowhere),
            Some([server]) => server,
            Some(_) => return Ok(Whereabouts::Away("two machines carry its mark".to_owned())),
        };
        Ok(standing(server))
    }

    async fn keep(&self, pins: &Pins) -> Result<(), ApplyError> {
        let what = format!("keep the pin of {}", self.id);
        let found = self.project.server(&self.id).await?;
        let [server] = found.as_slice() else {
            return Err(ApplyError::new(Class::Conflict, format!("{what}: its machine is not there")));
        };
        let updated = write_pins(&self.project.client, server, pins).await?;
        self.project.remember(&self.id, vec![updated]).await;
        Ok(())
    }
}

impl Locate for Machine {
    fn find(&self) -> BoxFuture<'_, Result<Whereabouts, String>> {
        Box::pin(self.whereabouts())
    }

    fn pin(&self, pins: Pins) -> BoxFuture<'_, Result<(), ApplyError>> {
        Box::pin(async move { self.keep(&pins).await })
    }
}

/// Returns where a machine is, by what the cloud says of it.
fn standing(server: &Server) -> Whereabouts {
    match &server.status {
        ServerStatus::Running | ServerStatus::Starting | ServerStatus::Initializing => {}
        ServerStatus::Off => return Whereabouts::Away("its machine is off; `claw apply` turns it on".to_owned()),
        other => return Whereabouts::Away(format!("its machine is {}", clean(other.as_str(), 40))),
    }
    let net = server.public_net.as_ref();
    let ipv4 = net.and_then(|net| Some(net.ipv4.as_ref()?.ip.clone()));
    let Some(address) = ipv4.or_else(|| net.and_then(|net| Some(own_ipv6(&net.ipv6.as_ref()?.ip)))) else {
        return Whereabouts::Away("its machine has no public address".to_owned());
    };
    let Some(current) = server.labels.get(PIN).cloned() else {
        let why = format!("the label {PIN} with its host key's pin was taken off; `claw adopt server` puts it back");
        return Whereabouts::Away(why);
    };
    let next = server.labels.get(PIN_NEXT).filter(|label| !label.is_empty()).cloned();
    let born_with = server.labels.contains_key(BORN);
    Whereabouts::Here(Found { address, pins: Pins { current, next, born_with } })
}

/// Returns the labels with other pins in them.
pub fn with_pins(labels: &Labels, pins: &Pins) -> Labels {
    let mut labels: BTreeMap<String, String> = labels.clone();
    labels.insert(PIN.to_owned(), pins.current.clone());
    labels.remove(PIN_NEXT);
    labels.remove(BORN);
    labels.extend(pins.next.iter().map(|next| (PIN_NEXT.to_owned(), next.clone())));
    labels.extend(pins.born_with.then(|| (BORN.to_owned(), YES.to_owned())));
    labels
}

async fn write_pins(client: &Client, server: &Server, pins: &Pins) -> Result<Server, ApplyError> {
    let labels = with_pins(&server.labels, pins);
    Ok(client.update_server(server.id, &Update { name: None, labels: Some(&labels) }).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_take_the_place_of_those_before_and_leave_other_labels() {
        let born = Pins { current: "a".into(), next: None, born_with: true };
        let own: Labels = [("team".to_owned(), "blue".to_owned())].into();
        let labels = with_pins(&own, &born);
        assert_eq!(labels.get(BORN).map(String::as_str), Some(YES));
        let moving = with_pins(&labels, &Pins { next: Some("b".into()), ..born });
        assert_eq!(moving.get(PIN_NEXT).map(String::as_str), Some("b"));
        let done = with_pins(&moving, &Pins { current: "b".into(), next: None, born_with: false });
        let wanted: Labels = [("team", "blue"), (PIN, "b")].map(|(key, value)| (key.into(), value.into())).into();
        assert_eq!(done, wanted);
    }
}
