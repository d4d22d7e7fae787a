package controller

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/sdn-tunnel/sdn-tunnel/internal/metricset"
)

// set are the controller's own metrics; the process has those of controller-runtime, too.
var set metricset.Set

// Metrics are those that the controller has.
func Metrics() []metricset.Metric { return set.All() }

var (
	nodesKnown = set.Gauge("member_nodes",
		"TunnelNodes known here, by member; those of other members are mirrors.", "cluster")
	refusedObjects = set.Gauge("member_refused",
		"What members say and is refused at the moment, by reason.", "cluster", "reason")
	remoteReachable = set.Gauge("member_reachable",
		"1 while the member's API server answers, else 0.", "cluster")
	memberHeard = set.Gauge("member_heard_timestamp_seconds",
		"When the member's API server last answered, in Unix time, half a minute late at most: what is known of its nodes, services and names may be as old.", "cluster")
	servicesKnown = set.Gauge("member_services",
		"Services of another member that are mirrored here.", "cluster")
	serviceSlices = set.Gauge("member_service_slices",
		"EndpointSlices that mirror those of another member's services.", "cluster")
	endpointsLeftOut = set.Gauge("member_service_endpoints_left_out",
		"Endpoints of mirrored services outside of the member's pod networks, such as those of hostNetwork pods: they cannot be reached.", "cluster")
	servicesStale = set.Gauge("member_services_stale",
		"1 while the mirrored services of the member may be older than what it says, else 0.", "cluster")
	serviceWrites = set.Counter("member_service_writes_total",
		"Writes of mirrored EndpointSlices, by verb.", "cluster", "verb")
	importWrites = set.Counter("member_import_writes_total",
		"Writes of what stands for imported services, by kind and verb.", "kind", "verb")
	tokenExpiry = set.Gauge("member_access_expiry_timestamp_seconds",
		"When the access to a member ends, in Unix time.", "cluster")
)

// perMember are those that have one value for each member.
var perMember = []*prometheus.GaugeVec{nodesKnown, remoteReachable, memberHeard, servicesKnown, serviceSlices, endpointsLeftOut, servicesStale, tokenExpiry}

func init() {
	metrics.Registry.MustRegister(nodesKnown, refusedObjects, remoteReachable, tokenExpiry,
		memberHeard, servicesKnown, serviceSlices, endpointsLeftOut, servicesStale, serviceWrites, importWrites)
}
