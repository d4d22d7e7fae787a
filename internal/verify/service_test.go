package verify

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/probe"
)

func (f *fakeCluster) service(_ context.Context, o *Options) (service, error) {
	return service{cluster: f.member, namespace: o.Namespace, name: testService, address: "172.30.0.1", zone: "cluster." + f.member}, nil
}

func (f *fakeCluster) ask(_ context.Context, p pod, req probe.ServicesRequest) ([]probe.ServiceResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	var results []probe.ServiceResult
	for _, s := range req.Services {
		tally := probe.Tally{Answered: s.Requests, Servers: map[string]int{"pod-east-1": 1, "pod-west-1": s.Requests - 1}, Source: p.ip, Seen: p.ip}
		if f.asked <= f.unknown {
			tally = probe.Tally{Error: "no such host"}
		}
		results = append(results, probe.ServiceResult{Service: s, Address: "172.30.0.1", TCP: tally, UDP: tally})
	}
	return results, nil
}

func TestRunAsksServicesUntilTheyAreKnown(t *testing.T) {
	shortPause(t)
	before := servicePause
	servicePause = time.Millisecond
	t.Cleanup(func() { servicePause = before })
	east, west := &fakeCluster{member: "east", nodes: 1, unknown: 2}, &fakeCluster{member: "west", nodes: 2}
	o := fakeOptions(east, west)
	o.Services, o.Names, o.ClusterSet = true, true, true
	report, err := Run(t.Context(), o)
	if err != nil || !report.OK() {
		t.Fatalf("%v: %s", err, report.Summary())
	}
	// From each pod, the other member's service by each of two ways, and that of all.
	if len(report.Services) != 9 || report.Summary() != "all 8 pairs OK, all 9 services OK" {
		t.Errorf("%d services: %s", len(report.Services), report.Summary())
	}
	for _, s := range report.Services {
		if s.Way == ByName && s.Host != "test-app.sdn-tunnel-test.svc.cluster."+s.To {
			t.Errorf("asked by the name %q", s.Host)
		}
		if set := s.Way == ByClusterSet; set && (s.Host != "test-app.sdn-tunnel-test.svc.clusterset.local" || s.Backends != 3 ||
			!slices.Equal(s.Clusters, []string{"east", "west"})) || !set && len(s.Clusters) > 0 {
			t.Errorf("asked for %q of %d pods: clusters %v answered", s.Host, s.Backends, s.Clusters)
		}
		if want := map[string]int{"east.east-1": 3}[s.From]; want > 0 && s.Attempts != want {
			t.Errorf("%s: %d attempts, want %d", s.From, s.Attempts, want)
		}
	}
}

func TestRunAsksNoServicesUnlessToldTo(t *testing.T) {
	shortPause(t)
	east, west := &fakeCluster{member: "east", nodes: 1}, &fakeCluster{member: "west", nodes: 1}
	report, err := Run(t.Context(), fakeOptions(east, west))
	if err != nil || len(report.Services) > 0 || east.asked > 0 {
		t.Errorf("error %v, services %v, asked %d times", err, report.Services, east.asked)
	}
}

func TestServiceFailures(t *testing.T) {
	good := probe.Tally{Answered: 16, Servers: map[string]int{"a": 7, "b": 9}, Source: "10.0.0.1", Seen: "10.0.0.1"}
	for name, c := range map[string]struct {
		change func(*ServicePair)
		want   string
	}{
		"all well":            {func(*ServicePair) {}, ""},
		"no answer":           {func(p *ServicePair) { p.UDP = probe.Tally{Error: "no such host"} }, "udp: no answer: no such host"},
		"some have no answer": {func(p *ServicePair) { p.TCP.Answered, p.TCP.Error = 15, "timeout" }, "tcp: 15 of 16 answered: timeout"},
		"one pod gets all":    {func(p *ServicePair) { p.TCP.Servers = map[string]int{"a": 16} }, "tcp: one pod of 2 answered all 16 requests"},
		"the only pod":        {func(p *ServicePair) { p.Backends, p.TCP.Servers = 1, map[string]int{"a": 16} }, ""},
		"another source":      {func(p *ServicePair) { p.TCP.Seen = "10.9.9.9" }, "the server saw 10.9.9.9"},
		"pods of two clusters": {func(p *ServicePair) {
			p.Way, p.Clusters, p.TCP.Seen = ByClusterSet, []string{"east", "west"}, "10.0.0.254"
		}, ""},
		"pods of one cluster of two": {func(p *ServicePair) { p.Way, p.Clusters = ByClusterSet, []string{"west"} }, "pods of west only answered"},
		"the prober could not":       {func(p *ServicePair) { p.Error = "gone" }, "gone"},
	} {
		t.Run(name, func(t *testing.T) {
			p := ServicePair{FromAddress: "10.0.0.1", Requests: 16, Backends: 2, TCP: good, UDP: good}
			c.change(&p)
			if got := p.Failure(); !strings.Contains(got, c.want) || p.OK() != (c.want == "") {
				t.Errorf("failure %q, want %q", got, c.want)
			}
		})
	}
}
