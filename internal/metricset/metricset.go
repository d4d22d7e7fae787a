// Package metricset makes metrics and keeps a list of them, so that documentation, rules
// and dashboards can be held against what there is. All names begin with sdntunnel_.
package metricset

import (
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Prefix of all names.
const Prefix = "sdntunnel_"

// Types of metrics.
const (
	Gauge     = "gauge"
	Counter   = "counter"
	Histogram = "histogram"
)

// Metric is one metric as people see it.
type Metric struct {
	Name, Type, Help string
	Labels           []string
}

// Set are the metrics of one program.
type Set struct {
	mu  sync.Mutex
	all []Metric
}

// All are those that were made, by name.
func (s *Set) All() []Metric {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.all)
	slices.SortFunc(all, func(a, b Metric) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// add lists a metric, once however often it is made.
func (s *Set) add(kind, name, help string, labels []string) string {
	m := Metric{Name: Prefix + name, Type: kind, Help: help, Labels: labels}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.ContainsFunc(s.all, func(is Metric) bool { return is.Name == m.Name }) {
		s.all = append(s.all, m)
	}
	return m.Name
}

// Desc describes a metric of that type, whose values a collector makes.
func (s *Set) Desc(kind, name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(s.add(kind, name, help, labels), help, labels, nil)
}

// Gauge makes a gauge.
func (s *Set) Gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: s.add(Gauge, name, help, labels), Help: help}, labels)
}

// Counter makes a counter.
func (s *Set) Counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: s.add(Counter, name, help, labels), Help: help}, labels)
}

// Histogram makes a histogram.
func (s *Set) Histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: s.add(Histogram, name, help, labels), Help: help, Buckets: buckets}, labels)
}
