//! How a service's traffic is spread, retried and held back; and the networks that the process trusts.

use std::net::IpAddr;

use ipnet::IpNet;
use toml::Spanned;

use super::Check;
use crate::config::{
    defaults,
    schema::{self, Given, Quantity},
    settings::{BalancePolicy, BalanceSettings, EjectionSettings, RetrySettings, ServiceLimits},
};

impl Check<'_> {
    pub(super) fn balance(&mut self, given: &schema::Balance) -> BalanceSettings {
        let default = defaults::BALANCE;
        BalanceSettings {
            policy: self.word("balance policy", &given.policy, &POLICY_WORDS, default.policy),
            slow_start: self.duration(&given.slow_start, default.slow_start),
        }
    }

    pub(super) fn ejection(&mut self, given: &schema::Ejection) -> EjectionSettings {
        let default = defaults::EJECTION;
        let (time, time_max) =
            (self.positive(&given.time, default.time), self.positive(&given.time_max, default.time_max));
        EjectionSettings {
            failures: self.number_unless_off(&given.failures, default.failures),
            time,
            time_max: time_max.max(time),
            share_max: self.whole(&given.share_max, 0..=100, default.share_max),
        }
    }

    pub(super) fn retry(&mut self, given: &schema::Retry) -> RetrySettings {
        let default = defaults::RETRY;
        let statuses = match &given.statuses {
            None => defaults::RETRY_STATUSES.to_vec(),
            Some(written) => self.statuses(written, &[]),
        };
        RetrySettings {
            statuses,
            attempts: self.whole(&given.attempts, 1..=10, default.attempts),
            budget_percent: self.whole(&given.budget, 0..=1_000, default.budget_percent),
            try_timeout: self.unless_off(&given.try_timeout, default.try_timeout),
            wait: self.duration(&given.wait, default.wait),
        }
    }

    pub(super) fn service_limits(&mut self, given: &schema::ServiceLimits) -> ServiceLimits {
        let default = defaults::SERVICE_LIMITS;
        ServiceLimits {
            concurrency: self.number_unless_off(&given.concurrency, default.concurrency),
            queue: self.whole(&given.queue, 0..=1_000_000, default.queue),
            queue_timeout: self.positive(&given.queue_timeout, default.queue_timeout),
        }
    }

    /// Final statuses of HTTP; an empty list means the default.
    pub(super) fn statuses(&mut self, given: &[Spanned<i64>], default: &[u16]) -> Vec<u16> {
        let mut statuses = Vec::new();
        for written in given {
            match u16::try_from(*written.get_ref()) {
                Ok(status) if (200..600).contains(&status) => statuses.push(status),
                _ => {
                    let message = format!("{} is not the status of an answer", written.get_ref());
                    self.refuse(written.span(), message, "write numbers from 200 to 599");
                }
            }
        }
        if given.is_empty() { default.to_vec() } else { statuses }
    }

    /// A number above zero that can be turned off with the word `off`.
    fn number_unless_off(&mut self, given: &Given<Quantity>, default: Option<u32>) -> Option<u32> {
        let Some(written) = given else { return default };
        match written.get_ref() {
            Quantity::Text(text) if text == "off" => None,
            Quantity::Number(number) if (1..=1_000_000).contains(number) => u32::try_from(*number).ok(),
            Quantity::Number(_) | Quantity::Text(_) => {
                let message = "it is neither a number from 1 to 1000000 nor \"off\"";
                self.refuse(written.span(), message, "write a number without quotes, or \"off\"");
                default
            }
        }
    }

    /// `10.0.0.0/8`, `fd00::/8`, or a single address.
    pub(super) fn networks(&mut self, given: &[Spanned<String>]) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for written in given {
            let text = written.get_ref();
            match text.parse().or_else(|_not_a_network| text.parse::<IpAddr>().map(IpNet::from)) {
                Ok(network) => networks.push(network.trunc()),
                Err(_not_an_address) => {
                    let hint = "write such as \"10.0.0.0/8\", \"fd00::/8\" or \"192.0.2.7\"";
                    self.refuse(written.span(), format!("{text:?} is not a network"), hint);
                }
            }
        }
        networks
    }
}

const POLICY_WORDS: [(&str, BalancePolicy); 3] = [
    ("peak_ewma", BalancePolicy::PeakEwma),
    ("least_in_flight", BalancePolicy::LeastInFlight),
    ("round_robin", BalancePolicy::RoundRobin),
];
