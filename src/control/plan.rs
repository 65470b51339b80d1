//! What a reading of the config file means for one service. Who wins: the last writer. The file is a writer of a value
//! only where it says something else than it said when it was last applied; saving it again undoes nothing.

use std::{collections::HashSet, sync::Arc};

use crate::{
    api::EndpointHealth,
    config::{ServiceSettings, SlotSettings},
    ids::{PerSlot, ServiceName, Slot},
    upstream::Endpoint,
};

/// What is known of a service before the file is read: from the books, or at start from the record on disk.
#[derive(Clone, Debug)]
pub(super) struct Known<'a> {
    pub(super) active: Slot,
    pub(super) file_active: Slot,
    pub(super) slots: PerSlot<KnownSlot<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct KnownSlot<'a> {
    /// What stands there.
    pub(super) contents: &'a SlotSettings,
    /// What the file said stands there.
    pub(super) file: &'a SlotSettings,
}

/// What a service is to become.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ServicePlan {
    pub(super) settings: Arc<ServiceSettings>,
    pub(super) active: Slot,
    pub(super) contents: PerSlot<SlotSettings>,
    /// The slot holds something else than before.
    pub(super) replaced: PerSlot<bool>,
}

/// The file leaves the slot that serves without endpoints.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "service {service}: slot {slot} is active and the file leaves it without endpoints; switch to {other} first, or give {slot} endpoints"
)]
pub(super) struct WouldEmptyActive {
    service: ServiceName,
    slot: Slot,
    other: Slot,
}

/// What the file's words come to, given what is known.
pub(super) fn plan(wanted: &Arc<ServiceSettings>, known: &Known<'_>) -> Result<ServicePlan, WouldEmptyActive> {
    let active = if wanted.active == known.file_active { known.active } else { wanted.active };
    let contents = PerSlot::from_fn(|slot| {
        let (said, known) = (&wanted.slots[slot], known.slots[slot]);
        if said == known.file { known.contents.clone() } else { said.clone() }
    });
    if contents[active].endpoints.is_empty() {
        return Err(WouldEmptyActive { service: wanted.name.clone(), slot: active, other: active.other() });
    }
    let replaced = PerSlot::from_fn(|slot| contents[slot] != *known.slots[slot].contents);
    Ok(ServicePlan { settings: wanted.clone(), active, contents, replaced })
}

impl ServicePlan {
    /// True if the plan brings traffic to something that has not proven itself (P3): another slot becomes active, or the
    /// active one gets endpoints of which none is known to be healthy while the present ones are.
    pub(super) fn needs_gate(&self, active: Slot, endpoints: &[Arc<Endpoint>]) -> bool {
        if self.active != active {
            return true;
        }
        let healthy = |endpoint: &&Arc<Endpoint>| endpoint.health() == EndpointHealth::Healthy;
        let mut present = endpoints.iter().filter(healthy).peekable();
        if !self.replaced[active] || present.peek().is_none() {
            return false;
        }
        let planned: HashSet<_> = self.contents[active].endpoints.iter().collect();
        !present.any(|endpoint| planned.contains(&endpoint.settings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn settings(active: &str, blue: u16, green: u16) -> Arc<ServiceSettings> {
        let text = format!(
            "version = 1\n[[service]]\nname = \"iris\"\nactive = \"{active}\"\n[service.blue]\nendpoints = [\"http://127.0.0.1:{blue}\"]\n[service.green]\nendpoints = [\"http://127.0.0.1:{green}\"]\n"
        );
        config::parse(&text, "test.toml").unwrap().settings.services[0].clone()
    }

    fn known<'a>(active: Slot, file: &'a ServiceSettings, green: &'a SlotSettings) -> Known<'a> {
        Known {
            active,
            file_active: file.active,
            slots: PerSlot {
                blue: KnownSlot { contents: &file.slots.blue, file: &file.slots.blue },
                green: KnownSlot { contents: green, file: &file.slots.green },
            },
        }
    }

    #[test]
    fn the_same_file_again_undoes_nothing() {
        let file = settings("blue", 1, 2);
        let by_api = settings("blue", 1, 3).slots.green.clone();
        let plan = plan(&file, &known(Slot::Green, &file, &by_api)).unwrap();
        assert_eq!(plan.active, Slot::Green, "an API switch stays");
        assert_eq!(plan.contents.green, by_api, "what the API put into a slot stays");
        assert_eq!(plan.replaced, PerSlot { blue: false, green: false });
    }

    #[test]
    fn what_the_file_changes_wins() {
        let before = settings("blue", 1, 2);
        let by_api = settings("blue", 1, 3).slots.green.clone();
        let after = settings("green", 1, 4);
        let plan = plan(&after, &known(Slot::Blue, &before, &by_api)).unwrap();
        assert_eq!(plan.active, Slot::Green);
        assert_eq!(plan.contents.green, after.slots.green);
        assert_eq!(plan.replaced, PerSlot { blue: false, green: true });
        assert!(plan.needs_gate(Slot::Blue, &[]));
    }

    #[test]
    fn the_active_slot_is_never_emptied() {
        let before = settings("blue", 1, 2);
        let mut after = (*before).clone();
        after.slots.green = SlotSettings::default();
        let refused = plan(&Arc::new(after), &known(Slot::Green, &before, &before.slots.green));
        assert!(refused.unwrap_err().to_string().contains("slot green is active"));
    }

    #[test]
    fn scaling_needs_no_gate_while_a_healthy_endpoint_stays() {
        let before = settings("blue", 1, 2);
        let old = Arc::new(Endpoint::new(&before.slots.blue.endpoints[0]));
        old.prove(String::new(), std::time::Instant::now(), 1);
        let mut grown = (*before).clone();
        grown.slots.blue.endpoints.push(settings("blue", 9, 2).slots.blue.endpoints[0].clone());
        let grown = plan(&Arc::new(grown), &known(Slot::Blue, &before, &before.slots.green)).unwrap();
        assert!(!grown.needs_gate(Slot::Blue, std::slice::from_ref(&old)));
        let moved = plan(&settings("blue", 9, 2), &known(Slot::Blue, &before, &before.slots.green)).unwrap();
        assert!(moved.needs_gate(Slot::Blue, &[old]));
    }
}
