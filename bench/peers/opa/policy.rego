# The same decision as the other peers make, as a policy of OPA-envoy: data.keys holds the known API keys.
package bench

import rego.v1

# Envoy fills one of the two, by encode_raw_headers.
key := input.attributes.request.http.headers["x-api-key"]

key := base64.decode(header.rawValue) if {
	some header in input.attributes.request.http.headerMap.headers
	header.key == "x-api-key"
}

is_known if data.keys[key]

is_mapped if not startswith(input.attributes.request.http.path, "/v1/none/")

default result := {
	"allowed": false,
	"http_status": 401,
	"headers": {"content-type": "application/json"},
	"body": "{\"error\":{\"code\":\"invalid\",\"message\":\"invalid\"}}",
}

result := {
	"allowed": true,
	"headers": {
		"x-organization-id": "org_019ca000-0000-7000-8000-000000000001",
		"x-api-key-id": "key_019ca000-0000-7000-8000-000000000001",
	},
	"request_headers_to_remove": ["x-api-key"],
} if {
	is_known
	is_mapped
}

result := {
	"allowed": false,
	"http_status": 403,
	"headers": {"content-type": "application/json"},
	"body": "{\"error\":{\"code\":\"scope\",\"message\":\"scope\"}}",
} if {
	is_known
	not is_mapped
}
