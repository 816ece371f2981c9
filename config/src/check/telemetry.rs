//! `Telemetry`: tracing, metrics and access logs.

use super::{Path, Scope, policy, words};
use crate::api::Telemetry;
use crate::api::telemetry::{Metrics, ProviderRef, TagOperation, Tracing};

pub(super) fn check(spec: &Telemetry, scope: &mut Scope<'_>) {
    let root = Path::root("spec");
    policy::selector(spec.selector.as_ref(), &root, scope);
    policy::targets(
        spec.selector.is_some(),
        spec.target_ref.as_ref(),
        &spec.target_refs,
        &root,
        scope,
    );
    for (i, tracing) in spec.tracing.iter().enumerate() {
        check_tracing(tracing, &root.item("tracing", i), scope);
    }
    for (i, metrics) in spec.metrics.iter().enumerate() {
        check_metrics(metrics, &root.item("metrics", i), scope);
    }
    for (i, logging) in spec.access_logging.iter().enumerate() {
        let at = root.item("accessLogging", i);
        providers(&logging.providers, &at, scope);
        if logging
            .filter
            .as_ref()
            .is_some_and(|f| f.expression.is_empty())
        {
            scope.error(
                &at.field("filter.expression"),
                "the expression is empty",
                "write a CEL expression, like response.code >= 400",
            );
        }
    }
}

fn providers(list: &[ProviderRef], at: &Path<'_>, scope: &mut Scope<'_>) {
    for (i, provider) in list.iter().enumerate() {
        scope.require(
            !provider.name.is_empty(),
            &at.item("providers", i),
            "`name` of the provider is missing",
            "",
        );
    }
}

fn check_tracing(tracing: &Tracing, at: &Path<'_>, scope: &mut Scope<'_>) {
    providers(&tracing.providers, at, scope);
    if tracing.providers.len() > 1 {
        scope.error(
            &at.field("providers"),
            "only one provider of tracing is possible",
            "keep one of them",
        );
    }
    if let Some(percent) = tracing.random_sampling_percentage {
        scope.judge(
            &at.field("randomSamplingPercentage"),
            words::percentage(percent),
            "",
        );
    }
    let tags = at.field("customTags");
    for (name, tag) in tracing.custom_tags.iter() {
        let at = tags.field(name);
        scope.require(!name.is_empty(), &at, "the name of the tag is empty", "");
        let empty = [
            (tag.literal.as_ref().map(|t| &t.value), "literal.value"),
            (tag.header.as_ref().map(|t| &t.name), "header.name"),
            (
                tag.environment.as_ref().map(|t| &t.name),
                "environment.name",
            ),
            (tag.formatter.as_ref().map(|t| &t.value), "formatter.value"),
        ];
        if empty.iter().all(|(value, _)| value.is_none()) {
            scope.error(
                &at,
                format!("tag `{name}` has no source"),
                "add `literal`, `header`, `environment` or `formatter`",
            );
        }
        for (value, field) in empty {
            if value.is_some_and(String::is_empty) {
                scope.error(&at.field(field), format!("`{field}` is empty"), "");
            }
        }
    }
}

fn check_metrics(metrics: &Metrics, at: &Path<'_>, scope: &mut Scope<'_>) {
    providers(&metrics.providers, at, scope);
    if let Some(interval) = metrics.reporting_interval {
        scope.judge(
            &at.field("reportingInterval"),
            words::duration(interval),
            "",
        );
    }
    for (i, rule) in metrics.overrides.iter().enumerate() {
        let at = at.item("overrides", i);
        if rule
            .match_
            .as_ref()
            .is_some_and(|m| m.custom_metric.as_deref() == Some(""))
        {
            scope.error(
                &at.field("match.customMetric"),
                "`customMetric` is empty",
                "name the metric",
            );
        }
        let tags = at.field("tagOverrides");
        for (name, tag) in rule.tag_overrides.iter() {
            let at = tags.field(name);
            match tag.operation {
                TagOperation::Upsert if tag.value.is_empty() => {
                    scope.error(
                        &at,
                        "UPSERT needs a `value`",
                        "write a CEL expression, like request.host",
                    );
                }
                TagOperation::Remove if !tag.value.is_empty() => {
                    scope.error(&at.field("value"), "REMOVE takes no `value`", "remove it");
                }
                TagOperation::Upsert | TagOperation::Remove => {}
            }
        }
    }
}
