//! What an HTTP rule does with a request: timeouts, retries, faults, CORS, rewrites, headers.

use super::Row;
use super::virtual_service::rules;

#[test]
fn timeouts_and_retries() {
    rules(TIMEOUTS_AND_RETRIES);
}

const TIMEOUTS_AND_RETRIES: &[Row] = &[
    ("route: [{destination: {host: a}}], timeout: 1ms", &[]),
    (
        "route: [{destination: {host: a}}], timeout: 0s",
        &["IST0106 timeout"],
    ),
    (
        "route: [{destination: {host: a}}], timeout: 1500us",
        &["IST0106 timeout"],
    ),
    (
        "route: [{destination: {host: a}}], timeout: 10",
        &["SP0003 timeout"],
    ),
    (
        "route: [{destination: {host: a}}], retries: {attempts: 0}",
        &[],
    ),
    (
        "route: [{destination: {host: a}}], retries: {attempts: -1}",
        &["IST0106 retries.attempts"],
    ),
    (
        "route: [{destination: {host: a}}], retries: {perTryTimeout: 1s}",
        &["IST0106 retries.attempts"],
    ),
    (
        "route: [{destination: {host: a}}], retries: {attempts: 0, retryOn: connect-failure}",
        &["IST0106 retries.attempts"],
    ),
    (
        "route: [{destination: {host: a}}], retries: {attempts: 2, retryOn: 'connect-failure,503'}",
        &[],
    ),
    (
        "route: [{destination: {host: a}}], retries: {attempts: 2, retryOn: 'connect-failure, refused-stream'}",
        &["IST0106 retries.retryOn"],
    ),
    (
        "route: [{destination: {host: a}}], retries: {attempts: 2, retryOn: 'connect-failure,'}",
        &["IST0106 retries.retryOn"],
    ),
    (
        "route: [{destination: {host: a}}], retries: {attempts: 2, retryOn: connect-failures}",
        &["IST0106 retries.retryOn"],
    ),
    (
        "route: [{destination: {host: a}}], retries: {attempts: 2, retryOn: '999'}",
        &["IST0106 retries.retryOn"],
    ),
    (
        "route: [{destination: {host: a}}], retries: {attempts: 2, perTryTimeout: 0s}",
        &["IST0106 retries.perTryTimeout"],
    ),
    (
        "route: [{destination: {host: a}}], retries: {attempts: 2, backoff: 1us}",
        &["IST0106 retries.backoff"],
    ),
    (
        "route: [{destination: {host: a}}], timeout: 30s, retries: {attempts: 2, perTryTimeout: 10s}",
        &[],
    ),
    (
        "route: [{destination: {host: a}}], timeout: 29s, retries: {attempts: 2, perTryTimeout: 10s}",
        &["SP0203 retries.perTryTimeout"],
    ),
    (
        "route: [{destination: {host: a}}], retries: {attempts: 2, retryOn: gateway-error}",
        &["SP0206 retries.retryOn"],
    ),
    (
        "match: [{method: {exact: POST}}], route: [{destination: {host: a}}], retries: {attempts: 2, retryOn: reset}",
        &["SP0206 retries.retryOn"],
    ),
    (
        "match: [{method: {regex: 'GET|HEAD'}}], route: [{destination: {host: a}}], retries: {attempts: 2, retryOn: reset}",
        &[],
    ),
    (
        "match: [{method: {exact: GET}}], route: [{destination: {host: a}}], retries: {attempts: 2, retryOn: retriable-4xx}",
        &["SP0204 retries.retryOn"],
    ),
    (
        "route: [{destination: {host: a}}], retries: {attempts: 2, retryRemoteLocalities: true}",
        &["SP0205 retries.retryRemoteLocalities"],
    ),
];

#[test]
fn faults_cors_rewrites_and_headers() {
    rules(FAULTS_CORS_REWRITES_AND_HEADERS);
}

const FAULTS_CORS_REWRITES_AND_HEADERS: &[Row] = &[
    (
        "route: [{destination: {host: a}}], fault: {}",
        &["IST0106 fault"],
    ),
    (
        "route: [{destination: {host: a}}], fault: {abort: {httpStatus: 503, percentage: {value: 0.1}}}",
        &[],
    ),
    (
        "route: [{destination: {host: a}}], fault: {abort: {httpStatus: 199, percentage: {value: 1}}}",
        &["IST0106 fault.abort.httpStatus"],
    ),
    (
        "route: [{destination: {host: a}}], fault: {abort: {grpcStatus: UNAVAILABLE, percentage: {value: 1}}}",
        &[],
    ),
    (
        "route: [{destination: {host: a}}], fault: {abort: {grpcStatus: NOPE, percentage: {value: 1}}}",
        &["IST0106 fault.abort.grpcStatus"],
    ),
    (
        "route: [{destination: {host: a}}], fault: {abort: {http2Error: X, percentage: {value: 1}}}",
        &["IST0106 fault.abort.http2Error"],
    ),
    (
        "route: [{destination: {host: a}}], fault: {abort: {httpStatus: 500, percentage: {value: 101}}}",
        &["IST0106 fault.abort.percentage.value"],
    ),
    (
        "route: [{destination: {host: a}}], fault: {abort: {httpStatus: 500}}",
        &["SP0210 fault.abort"],
    ),
    (
        "route: [{destination: {host: a}}], fault: {delay: {fixedDelay: 1s}}",
        &["SP0210 fault.delay"],
    ),
    (
        "route: [{destination: {host: a}}], fault: {delay: {fixedDelay: 0s, percentage: {value: 1}}}",
        &["IST0106 fault.delay.fixedDelay"],
    ),
    (
        "route: [{destination: {host: a}}], fault: {delay: {exponentialDelay: 1s, percentage: {value: 1}}}",
        &["IST0106 fault.delay.exponentialDelay"],
    ),
    (
        "route: [{destination: {host: a}}], fault: {delay: {fixedDelay: 1s, percent: 10}}",
        &["IST0002 fault.delay.percent"],
    ),
    (
        "route: [{destination: {host: a}}], corsPolicy: {allowOrigins: [{exact: 'https://a'}], allowMethods: [GET, POST], maxAge: 24h}",
        &[],
    ),
    (
        "route: [{destination: {host: a}}], corsPolicy: {allowMethods: [get]}",
        &["IST0106 corsPolicy.allowMethods[0]"],
    ),
    (
        "route: [{destination: {host: a}}], corsPolicy: {allowHeaders: ['x a']}",
        &["IST0106 corsPolicy.allowHeaders[0]"],
    ),
    (
        "route: [{destination: {host: a}}], corsPolicy: {exposeHeaders: ['']}",
        &["IST0106 corsPolicy.exposeHeaders[0]"],
    ),
    (
        "route: [{destination: {host: a}}], corsPolicy: {maxAge: 1500ms}",
        &["IST0106 corsPolicy.maxAge"],
    ),
    (
        "route: [{destination: {host: a}}], corsPolicy: {allowOrigins: [{regex: '('}]}",
        &["IST0106 corsPolicy.allowOrigins[0].regex"],
    ),
    (
        "route: [{destination: {host: a}}], corsPolicy: {allowOrigin: ['*']}",
        &["IST0002 corsPolicy.allowOrigin"],
    ),
    (
        "route: [{destination: {host: a}}], rewrite: {}",
        &["IST0106 rewrite"],
    ),
    (
        "route: [{destination: {host: a}}], rewrite: {authority: b}",
        &[],
    ),
    (
        "route: [{destination: {host: a}}], rewrite: {uri: /b, uriRegexRewrite: {match: a, rewrite: b}}",
        &["IST0106 rewrite.uriRegexRewrite"],
    ),
    (
        "route: [{destination: {host: a}}], rewrite: {uriRegexRewrite: {match: a}}",
        &["IST0106 rewrite.uriRegexRewrite"],
    ),
    (
        "route: [{destination: {host: a}}], rewrite: {uriRegexRewrite: {match: '(a', rewrite: b}}",
        &["IST0106 rewrite.uriRegexRewrite.match"],
    ),
    (
        "route: [{destination: {host: a}}], headers: {request: {set: {x-a: '%REQ(x-b)%'}, remove: [x-c]}}",
        &[],
    ),
    (
        "route: [{destination: {host: a}}], headers: {request: {set: {x-a: '50%'}}}",
        &["IST0106 headers.request.set.x-a"],
    ),
    (
        "route: [{destination: {host: a}}], headers: {request: {set: {host: b}}}",
        &[],
    ),
    (
        "route: [{destination: {host: a}}], headers: {request: {set: {host: b, ':authority': c}}}",
        &["IST0106 headers.request.set"],
    ),
    (
        "route: [{destination: {host: a}}], headers: {request: {set: {':path': b}}}",
        &["IST0106 headers.request.set.:path"],
    ),
    (
        "route: [{destination: {host: a}}], headers: {request: {remove: [Host]}}",
        &["IST0106 headers.request.remove[0]"],
    ),
    (
        "route: [{destination: {host: a}}], headers: {response: {add: {host: b}}}",
        &["IST0106 headers.response.add.host"],
    ),
    (
        "route: [{destination: {host: a}, headers: {request: {add: {'': b}}}}]",
        &["IST0106 route[0].headers.request.add."],
    ),
];
