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
	tokenExpiry = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sdn_tunnel_peer_token_expiry_timestamp_seconds",
		Help: "When the access to a member ends, in Unix time."}, []string{"cluster"})
)

func init() { metrics.Registry.MustRegister(nodesKnown, refusedObjects, remoteReachable, tokenExpiry) }
