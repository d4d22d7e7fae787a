package agent

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sdn-tunnel/sdn-tunnel/internal/version"
)

// metrics is what the agent tells Prometheus: counters of the loop's work, and on
// each scrape what it observes of the node.
type metrics struct {
	registry   *prometheus.Registry
	reconciles *prometheus.CounterVec
	changes    *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	observe    func() Observation
}

func name(s string) string { return prometheus.BuildFQName("sdntunnel", "", s) }

func describe(n, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name(n), help, labels, nil)
}

var (
	descAge       = describe("peer_last_handshake_age_seconds", "Age of the last handshake with the peer; absent before the first.", "peer")
	descReceived  = describe("peer_receive_bytes_total", "Bytes received from the peer.", "peer")
	descSent      = describe("peer_transmit_bytes_total", "Bytes sent to the peer.", "peer")
	descPeers     = describe("peers", "Peers by state: up (handshake younger than 180 s), stale, never.", "state")
	descFlows     = describe("flows", "Flows of sdn-tunnel on the bridge.")
	descRefusals  = describe("refusals", "What is not used of the objects in the API, by reason.", "reason")
	descConnected = describe("api_connected", "1 if the cluster's API answered the last request.")
	descCable     = describe("cable_info", "The implementation of the cable in use.", "cable")
	descMTU       = describe("mtu_bytes", "MTU of the tunnel.")
	descServices  = describe("services", "Services of other clusters that are proxied here.")
	descEndpoints = describe("service_endpoints", "Endpoints of the services of other clusters that are proxied here, once for each port.")
	descRefused   = describe("services_refused", "What is not used of the mirrors of other clusters' services; it counts among the refusals too.")
	descSync      = describe("service_sync_duration_seconds", "How long the last change of services took from the agent to the kernel.")
	descReady     = describe("part_as_planned", "1 if the part is as planned, 0 if its last apply failed.", "part")
	descPlan      = describe("plan_info", "Where the plan in use comes from: api, saved or none.", "source")
)

func newMetrics(observe func() Observation) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		observe:  observe,
		reconciles: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name("reconciles_total"), Help: "Applies of each part, by result: ok or error.",
		}, []string{"part", "result"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name("changes_total"), Help: "What the applies of each part changed.",
		}, []string{"part"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name("reconcile_duration_seconds"), Help: "Duration of each apply.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}, []string{"part"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: name("build_info"), Help: "Always 1; the labels say which build this is.",
		ConstLabels: prometheus.Labels{"version": version.Version, "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m, m.reconciles, m.changes, m.duration, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// measured counts one apply.
func (m *metrics) measured(part string, took time.Duration, changes int, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.reconciles.WithLabelValues(part, result).Inc()
	m.changes.WithLabelValues(part).Add(float64(changes))
	m.duration.WithLabelValues(part).Observe(took.Seconds())
}

// Describe sends nothing: the collector is unchecked, for its series come and go.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect sends what is observed now.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	o, now := m.observe(), time.Now()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	states := map[string]int{PeerUp: 0, PeerStale: 0, PeerNever: 0}
	for _, p := range o.Peers {
		peer := p.Ref.String()
		states[p.State(now)]++
		if !p.LastHandshake.IsZero() {
			gauge(descAge, now.Sub(p.LastHandshake).Seconds(), peer)
		}
		out <- prometheus.MustNewConstMetric(descReceived, prometheus.CounterValue, float64(p.Received), peer)
		out <- prometheus.MustNewConstMetric(descSent, prometheus.CounterValue, float64(p.Sent), peer)
	}
	for state, n := range states {
		gauge(descPeers, float64(n), state)
	}
	reasons := map[string]int{}
	for _, r := range o.State.Refusals {
		reasons[string(r.Reason)]++
	}
	for reason, n := range reasons {
		gauge(descRefusals, float64(n), reason)
	}
	for _, p := range o.State.Parts {
		gauge(descReady, truth(p.Err == nil), p.Name)
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
	if o.Cable != "" {
		gauge(descCable, 1, o.Cable)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
