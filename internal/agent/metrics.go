package agent

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/metricset"
	"github.com/sdn-tunnel/sdn-tunnel/internal/version"
)

// metrics is what the agent tells Prometheus: counters of the loop's work, and on
// each scrape what it observes of the node.
type metrics struct {
	registry   *prometheus.Registry
	reconciles *prometheus.CounterVec
	changes    *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	probes     *prometheus.CounterVec
	roundTrip  *prometheus.HistogramVec
	observe    func() Observation
	// peers is how many peers have series of their own at most.
	peers int
}

// set are the agent's own metrics; the process has those of its runtime, too.
var set metricset.Set

// Metrics are those that an agent has.
func Metrics() []metricset.Metric {
	newMetrics(nil, 0) // counters are made with it
	return set.All()
}

var (
	descAge       = set.Desc(metricset.Gauge, "peer_last_handshake_age_seconds", "Age of the last handshake with the peer; absent before the first.", "peer")
	descReceived  = set.Desc(metricset.Counter, "peer_receive_bytes_total", "Bytes received from the peer.", "peer")
	descSent      = set.Desc(metricset.Counter, "peer_transmit_bytes_total", "Bytes sent to the peer.", "peer")
	descTrip      = set.Desc(metricset.Gauge, "peer_round_trip_seconds", "Smoothed round-trip time through the tunnel to the peer.", "peer")
	descLoss      = set.Desc(metricset.Gauge, "peer_loss_ratio", "Share of the last 30 probes to the peer that was lost.", "peer")
	descPeers     = set.Desc(metricset.Gauge, "peers", "Peers by state: up (handshake younger than 180 s), stale, never.", "cluster", "state")
	descLossy     = set.Desc(metricset.Gauge, "peers_lossy", "Peers to which a fifth or more of the last 30 probes was lost.", "cluster")
	descAllIn     = set.Desc(metricset.Counter, "receive_bytes_total", "Bytes received from all peers in the other cluster.", "cluster")
	descAllOut    = set.Desc(metricset.Counter, "transmit_bytes_total", "Bytes sent to all peers in the other cluster.", "cluster")
	descFlows     = set.Desc(metricset.Gauge, "flows", "Flows of sdn-tunnel on the bridge.")
	descRefusals  = set.Desc(metricset.Gauge, "refusals", "What is not used of the objects in the API, by reason.", "reason")
	descConnected = set.Desc(metricset.Gauge, "api_connected", "1 if the cluster's API answered the last request.")
	descCable     = set.Desc(metricset.Gauge, "cable_info", "The implementation of the cable in use.", "cable")
	descMTU       = set.Desc(metricset.Gauge, "mtu_bytes", "MTU of the tunnel.")
	descServices  = set.Desc(metricset.Gauge, "services", "Services of other clusters that are proxied here.")
	descEndpoints = set.Desc(metricset.Gauge, "service_endpoints", "Endpoints of the services of other clusters that are proxied here, once for each port.")
	descRefused   = set.Desc(metricset.Gauge, "services_refused", "What is not used of the mirrors of other clusters' services; it counts among the refusals too.")
	descSync      = set.Desc(metricset.Gauge, "service_sync_duration_seconds", "How long the last change of services took from the agent to the kernel.")
	descRouterUp  = set.Desc(metricset.Gauge, "kube_router_serving", "1 if the kube-router of the other cluster runs and IPVS holds what it should, else 0.", "cluster")
	descRestarts  = set.Desc(metricset.Counter, "kube_router_restarts_total", "How often the kube-router of the other cluster was started again by this agent.", "cluster")
	descBehind    = set.Desc(metricset.Gauge, "kube_router_behind_seconds", "For how long IPVS has not held what it should of the other cluster; 0 if it does.", "cluster")
	descReady     = set.Desc(metricset.Gauge, "part_as_planned", "1 if the part is as planned, 0 if its last apply failed.", "part")
	descContested = set.Desc(metricset.Gauge, "part_contested", "1 if the part is put back again and again: something else undoes it.", "part")
	descRepairs   = set.Desc(metricset.Counter, "repairs_total", "How often the part was put back because something else had changed it.", "part")
	descPlan      = set.Desc(metricset.Gauge, "plan_info", "Where the plan in use comes from: api, saved or none.", "source")
)

func newMetrics(observe func() Observation, peers int) *metrics {
	m := &metrics{
		registry:   prometheus.NewRegistry(),
		observe:    observe,
		peers:      peers,
		reconciles: set.Counter("reconciles_total", "Applies of each part, by result: ok or error.", "part", "result"),
		changes:    set.Counter("changes_total", "What the applies of each part changed.", "part"),
		duration: set.Histogram("reconcile_duration_seconds", "Duration of each apply.",
			prometheus.ExponentialBuckets(0.001, 4, 8), "part"),
		probes: set.Counter("probes_total", "Probes through the tunnel to peers in the other cluster, by result: answered or lost.", "cluster", "result"),
		roundTrip: set.Histogram("round_trip_seconds", "Round-trip times of the probes that were answered.",
			prometheus.ExponentialBuckets(0.00025, 2.5, 10), "cluster"),
	}
	build := set.Gauge("build_info", "Always 1; the labels say which build this is.", "version", "goversion").
		WithLabelValues(version.Version, runtime.Version())
	build.Set(1)
	m.registry.MustRegister(m, m.reconciles, m.changes, m.duration, m.probes, m.roundTrip, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// measured counts one apply. Both results have a counter from the first apply on: of one
// that begins with its first error no rate has that error in it.
func (m *metrics) measured(part string, took time.Duration, changes int, err error) {
	ok, failed := m.reconciles.WithLabelValues(part, "ok"), m.reconciles.WithLabelValues(part, "error")
	if err == nil {
		ok.Inc()
	} else {
		failed.Inc()
	}
	m.changes.WithLabelValues(part).Add(float64(changes))
	m.duration.WithLabelValues(part).Observe(took.Seconds())
}

// probed counts one probe. Both results have a counter from the first probe on, so that
// what is lost of a member that loses nothing is 0.
func (m *metrics) probed(peer mesh.Ref, answered bool, took time.Duration) {
	kept, lost := m.probes.WithLabelValues(peer.Cluster, "answered"), m.probes.WithLabelValues(peer.Cluster, "lost")
	if !answered {
		lost.Inc()
		return
	}
	kept.Inc()
	m.roundTrip.WithLabelValues(peer.Cluster).Observe(took.Seconds())
}

// Describe sends nothing: the collector is unchecked, for its series come and go.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect sends what is observed now.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	o, now := m.observe(), time.Now()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	m.collectPeers(o, now, gauge, counter)
	reasons := map[string]int{}
	for _, r := range o.State.Refusals {
		reasons[string(r.Reason)]++
	}
	for reason, n := range reasons {
		gauge(descRefusals, float64(n), reason)
	}
	for _, p := range o.State.Parts {
		gauge(descReady, truth(p.Err == nil), p.Name)
		gauge(descContested, truth(p.Contested), p.Name)
		counter(descRepairs, float64(p.Repairs), p.Name)
	}
	gauge(descFlows, float64(o.Flows))
	gauge(descMTU, float64(o.MTU))
	gauge(descConnected, truth(o.Connected))
	gauge(descPlan, 1, string(o.State.Source))
	if s := o.Services; s != nil {
		gauge(descServices, float64(s.Services))
		gauge(descEndpoints, float64(s.Endpoints))
		gauge(descRefused, float64(len(s.Refused)))
		gauge(descSync, s.Sync.Seconds())
	}
	for _, k := range o.KubeRouters {
		gauge(descRouterUp, truth(k.Running && k.Behind == 0), k.Member)
		gauge(descBehind, k.Behind.Seconds(), k.Member)
		counter(descRestarts, float64(k.Restarts), k.Member)
	}
	if o.Cable != "" {
		gauge(descCable, 1, o.Cable)
	}
}

// send sends one value.
type send func(d *prometheus.Desc, v float64, labels ...string)

// collectPeers sends what is known of the peers: of each member always, of each peer where
// there are not too many.
func (m *metrics) collectPeers(o Observation, now time.Time, gauge, counter send) {
	type sums struct {
		states map[string]int
		lossy  int
	}
	members := map[string]*sums{}
	for _, p := range o.Peers {
		s := members[p.Ref.Cluster]
		if s == nil {
			s = &sums{states: map[string]int{PeerUp: 0, PeerStale: 0, PeerNever: 0}}
			members[p.Ref.Cluster] = s
		}
		s.states[p.State(now)]++
		if p.Lossy {
			s.lossy++
		}
	}
	for member, s := range members {
		for state, n := range s.states {
			gauge(descPeers, float64(n), member, state)
		}
		gauge(descLossy, float64(s.lossy), member)
	}
	for member, c := range o.Carried {
		counter(descAllIn, c.Received, member)
		counter(descAllOut, c.Sent, member)
	}
	if len(o.Peers) > m.peers {
		return
	}
	for _, p := range o.Peers {
		peer := p.Ref.String()
		if !p.LastHandshake.IsZero() {
			gauge(descAge, now.Sub(p.LastHandshake).Seconds(), peer)
		}
		counter(descReceived, float64(p.Received), peer)
		counter(descSent, float64(p.Sent), peer)
		if p.Path.Probes > 0 {
			gauge(descLoss, p.Path.Loss, peer)
		}
		if p.Path.RoundTrip > 0 {
			gauge(descTrip, p.Path.RoundTrip.Seconds(), peer)
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
