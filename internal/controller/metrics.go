package controller

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	nodesKnown = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sdn_tunnel_nodes",
		Help: "TunnelNodes known here, by member; those of other members are mirrors."}, []string{"cluster"})
	refusedObjects = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sdn_tunnel_refused",
		Help: "What members say and is refused at the moment, by reason."}, []string{"cluster", "reason"})
	remoteReachable = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sdn_tunnel_remote_reachable",
		Help: "1 while the member's API server answers, else 0."}, []string{"cluster"})
	servicesKnown = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sdn_tunnel_services",
		Help: "Services of another member that are mirrored here."}, []string{"cluster"})
	serviceSlices = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sdn_tunnel_service_slices",
		Help: "EndpointSlices that mirror those of another member's services."}, []string{"cluster"})
	endpointsLeftOut = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sdn_tunnel_service_endpoints_left_out",
		Help: "Endpoints of mirrored services outside of the member's pod networks, such as those of hostNetwork pods: they cannot be reached."}, []string{"cluster"})
	servicesStale = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sdn_tunnel_services_stale",
		Help: "1 while the mirrored services of the member may be older than what it says, else 0."}, []string{"cluster"})
	serviceWrites = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sdn_tunnel_service_writes_total",
		Help: "Writes of mirrored EndpointSlices, by verb."}, []string{"cluster", "verb"})
	importWrites = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sdn_tunnel_import_writes_total",
		Help: "Writes of what stands for imported services, by kind and verb."}, []string{"kind", "verb"})
	tokenExpiry = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sdn_tunnel_peer_token_expiry_timestamp_seconds",
		Help: "When the access to a member ends, in Unix time."}, []string{"cluster"})
)

func init() {
	metrics.Registry.MustRegister(nodesKnown, refusedObjects, remoteReachable, tokenExpiry,
		servicesKnown, serviceSlices, endpointsLeftOut, servicesStale, serviceWrites, importWrites)
}
