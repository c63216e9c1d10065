use ropewalk_serving::{RouteStatistics, RoutingStatistics, ShadowStatistics};

use super::Page;

/// What routes did, and where the registry's aliases point.
pub(super) fn write(page: &mut Page, routing: &RoutingStatistics) {
    targets_write(page, &routing.routes);
    shadows_write(page, &routing.routes);
    canaries_write(page, &routing.routes);
    let (version, failures) = ("ropewalk_alias_version", "ropewalk_alias_failures");
    page.heading(version, "gauge", "The version that answers for an alias of the registry.");
    for alias in &routing.aliases {
        page.line(version, &[("uri", &alias.uri)], alias.version);
    }
    page.heading(failures, "gauge", "Failed loads, in a row, of the version at which an alias points.");
    for alias in &routing.aliases {
        page.line(failures, &[("uri", &alias.uri)], alias.failures);
    }
}

fn targets_write(page: &mut Page, routes: &[RouteStatistics]) {
    type Value = fn(&ropewalk_serving::TargetStatistics) -> u64;
    let counters: [(&str, &str, Value); 3] = [
        ("ropewalk_route_requests_total", "Requests meant for a target of a route.", |target| target.requests),
        ("ropewalk_route_failed_total", "Those that were not answered.", |target| target.failed),
        ("ropewalk_route_absent_total", "Those that the default version took.", |target| target.absent),
    ];
    for (name, help, value) in counters {
        page.heading(name, "counter", help);
        for route in routes {
            for target in &route.targets {
                let to = target.to.as_ref().map_or_else(|| "default".to_owned(), ToString::to_string);
                let version = target.version.map(|version| version.to_string()).unwrap_or_default();
                let labels = [("model", route.route.model.as_str()), ("to", &to), ("version", &version)];
                page.line(name, &labels, value(target));
            }
        }
    }
}

fn shadows_write(page: &mut Page, routes: &[RouteStatistics]) {
    let name = "ropewalk_route_shadow_total";
    page.heading(name, "counter", "Copies for a shadow, by what became of them.");
    let shadows = || routes.iter().filter_map(|route| Some((route.route.model.as_str(), route.shadow.as_ref()?)));
    for (model, shadow) in shadows() {
        let ShadowStatistics { equal, different, failed, dropped, absent, .. } = *shadow;
        let counts =
            [("equal", equal), ("different", different), ("failed", failed), ("dropped", dropped), ("absent", absent)];
        for (result, count) in counts {
            page.line(name, &[("model", model), ("result", result)], count);
        }
    }
    let name = "ropewalk_route_shadow_largest_difference";
    page.heading(name, "gauge", "Largest difference of two numbers so far.");
    for (model, shadow) in shadows() {
        page.line(name, &[("model", model)], shadow.largest_difference);
    }
}

fn canaries_write(page: &mut Page, routes: &[RouteStatistics]) {
    type Value = fn(&ropewalk_serving::CanaryStatistics) -> f64;
    let gauges: [(&str, &str, Value); 3] = [
        ("ropewalk_route_canary_share", "Share of the requests that the canary takes.", |canary| canary.share),
        ("ropewalk_route_canary_error_rate", "Share of its requests that failed.", |canary| canary.error_rate),
        ("ropewalk_route_canary_drift", "How far its outputs are from the stable version's.", |canary| canary.drift),
    ];
    for (name, help, value) in gauges {
        page.heading(name, "gauge", help);
        for route in routes {
            if let Some(canary) = &route.canary {
                page.line(name, &[("model", route.route.model.as_str())], value(canary));
            }
        }
    }
    let name = "ropewalk_route_roll_backs_total";
    page.heading(name, "counter", "How often a canary was taken back.");
    for route in routes {
        page.line(name, &[("model", route.route.model.as_str())], route.roll_backs);
    }
}
