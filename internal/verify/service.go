package verify

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/dnsplan"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/probe"
)

// Way says by what a service of another member is asked.
type Way string

// Ways to a service.
const (
	testService     = "test-app" // its name in samples/test-app.yaml
	ByAddress   Way = "address"  // the ClusterIP that it has in its cluster
	ByName      Way = "name"     // its name in the zone of its cluster
	// ByClusterSet is the name that it has in all clusters, which all export it.
	ByClusterSet Way = "clusterset"
)

// service is the test application's Service of one cluster.
type service struct {
	cluster   string
	namespace string
	name      string
	address   string // ClusterIP
	zone      string // of the cluster's names, e.g. cluster.west
}

const (
	// minRequests is how many connections, and datagrams, are tried at least.
	minRequests = 16
)

// servicePause is the wait before a service that fails is asked again.
var servicePause = time.Second

// ServicePair is one source and one service of another member.
type ServicePair struct {
	// From is a node, by its name in the mesh; the source is a pod on it.
	From string `json:"from"`
	// To is the member whose service is asked, or "clusterset" for the one that all export;
	// Host its address or name.
	To   string `json:"to"`
	Way  Way    `json:"way"`
	Host string `json:"host"`
	// Address is what Host was resolved to.
	Address string `json:"address,omitempty"`
	// FromAddress is the source pod's own address.
	FromAddress string `json:"fromAddress"`
	// Requests is how many connections and how many datagrams were tried.
	Requests int         `json:"requests"`
	TCP      probe.Tally `json:"tcp"`
	UDP      probe.Tally `json:"udp"`
	// Backends is how many pods the service has.
	Backends int `json:"backends"`
	// Clusters are those whose pods answered a service that all export.
	Clusters []string `json:"clusters,omitempty"`
	Attempts int      `json:"attempts"`
	// Error: the prober could not run.
	Error string `json:"error,omitempty"`

	// owners are the clusters of pods, of a service that all export.
	owners map[string]string
}

// OK tells whether everything was answered, by more than one pod if there are several,
// and with the source's own address seen; by pods of several clusters if all export the
// service, whose pods see clients of other clusters as their nodes.
func (p ServicePair) OK() bool { return p.Failure() == "" }

// Failure is why the service failed, in one line; empty if it did not.
func (p ServicePair) Failure() string {
	if p.Error != "" {
		return p.Error
	}
	var why []string
	for _, t := range []struct {
		name string
		probe.Tally
	}{{probe.TCP, p.TCP}, {probe.UDP, p.UDP}} {
		switch {
		case t.Answered == 0:
			why = append(why, fmt.Sprintf("%s: no answer: %s", t.name, t.Error))
		case t.Answered < p.Requests:
			why = append(why, fmt.Sprintf("%s: %d of %d answered: %s", t.name, t.Answered, p.Requests, t.Error))
		case len(t.Servers) < min(p.Backends, 2):
			why = append(why, fmt.Sprintf("%s: one pod of %d answered all %d requests: nothing balances them", t.name, p.Backends, p.Requests))
		case p.Way != ByClusterSet && t.Seen != p.FromAddress:
			why = append(why, fmt.Sprintf("%s: the pod has the address %s, but the server saw %s", t.name, p.FromAddress, t.Seen))
		}
	}
	if len(why) == 0 && p.Way == ByClusterSet && len(p.Clusters) < 2 {
		why = append(why, fmt.Sprintf("pods of %s only answered: nothing balances over the clusters", strings.Join(p.Clusters, ", ")))
	}
	return strings.Join(why, "; ")
}

// ways are what is verified of each service.
func (o *Options) ways() (ways []Way) {
	if o.Services {
		ways = append(ways, ByAddress)
	}
	if o.Names {
		ways = append(ways, ByName)
	}
	if o.ClusterSet {
		ways = append(ways, ByClusterSet)
	}
	return ways
}

// host is what a service is asked by.
func (s service) host(w Way) string {
	switch w {
	case ByAddress:
		return s.address
	case ByClusterSet:
		s.zone = dnsplan.ClusterSetZone
	}
	return fmt.Sprintf("%s.%s.svc.%s", s.name, s.namespace, s.zone)
}

// services asks every member's service from every pod of the others.
func (o *Options) services(ctx context.Context, clusters []cluster, pods []pod) ([]ServicePair, error) {
	if len(o.ways()) == 0 {
		return nil, nil
	}
	offered := make([]service, len(clusters))
	err := each(clusters, func(i int, c cluster) (err error) {
		if offered[i], err = c.service(ctx, o); err != nil {
			err = fmt.Errorf("cluster %s: %w", c.name(), err)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	backends := map[string][]pod{}
	for _, p := range pods {
		if !p.host {
			backends[p.ref.Cluster] = append(backends[p.ref.Cluster], p)
		}
	}
	byName := map[string]cluster{}
	for _, c := range clusters {
		byName[c.name()] = c
	}
	var mu sync.Mutex
	var pairs []ServicePair
	var wg sync.WaitGroup
	for _, source := range pods {
		if source.host {
			continue
		}
		wg.Go(func() {
			got := o.askFrom(ctx, byName[source.ref.Cluster], source, o.questions(source, offered, backends))
			mu.Lock()
			defer mu.Unlock()
			pairs = append(pairs, got...)
			o.Progress(Event{source.ref.Cluster, "services", serviceLine(source.ref, got)})
		})
	}
	wg.Wait()
	slices.SortFunc(pairs, func(a, b ServicePair) int {
		return cmp.Or(cmp.Compare(a.Way, b.Way), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return pairs, nil
}

func serviceLine(from mesh.Ref, pairs []ServicePair) string {
	ok := 0
	for _, p := range pairs {
		if p.OK() {
			ok++
		}
	}
	return fmt.Sprintf("pod on %s: %d of %d services OK", from.Node, ok, len(pairs))
}

// questions are the services of other members, each by each way, and the one of all.
func (o *Options) questions(source pod, offered []service, backends map[string][]pod) (pairs []ServicePair) {
	ask := func(to string, w Way, s service, backends []pod) *ServicePair {
		pairs = append(pairs, ServicePair{
			From: source.ref.String(), FromAddress: source.ip, To: to, Way: w, Host: s.host(w),
			Requests: max(minRequests, 4*min(len(backends), 16)), Backends: len(backends),
		})
		return &pairs[len(pairs)-1]
	}
	for _, w := range o.ways() {
		if w == ByClusterSet {
			all := slices.Concat(slices.Collect(maps.Values(backends))...)
			p := ask(string(ByClusterSet), w, offered[0], all)
			p.owners = make(map[string]string, len(all))
			for _, b := range all {
				p.owners[b.name] = b.ref.Cluster
			}
			continue
		}
		for _, s := range offered {
			if s.cluster != source.ref.Cluster {
				ask(s.cluster, w, s, backends[s.cluster])
			}
		}
	}
	return pairs
}

// askFrom asks from one pod, and what fails again until patience ends.
func (o *Options) askFrom(ctx context.Context, c cluster, source pod, pairs []ServicePair) []ServicePair {
	todo := make([]*ServicePair, len(pairs))
	for i := range pairs {
		todo[i] = &pairs[i]
	}
	end := time.Now().Add(o.Patience)
	for attempt := 1; ; attempt++ {
		o.askOnce(ctx, c, source, todo)
		var failing []*ServicePair
		for _, p := range todo {
			p.Attempts = attempt
			if !p.OK() {
				failing = append(failing, p)
			}
		}
		if todo = failing; len(todo) == 0 || time.Now().After(end) || !pause(ctx, servicePause) {
			return pairs
		}
	}
}

func (o *Options) askOnce(ctx context.Context, c cluster, source pod, pairs []*ServicePair) {
	req := probe.ServicesRequest{TimeoutSeconds: max(int(o.ProbeTimeout.Seconds())/2, 1)}
	for _, p := range pairs {
		req.Services = append(req.Services, probe.Service{Name: p.To, Host: p.Host, Port: port, Requests: p.Requests})
	}
	results, err := c.ask(ctx, source, req)
	if err == nil && len(results) != len(pairs) {
		err = fmt.Errorf("%d results for %d services", len(results), len(pairs))
	}
	for i, p := range pairs {
		p.Error = ""
		if err != nil {
			p.Error = fmt.Sprintf("probe could not run in pod %s/%s: %v", source.namespace, source.name, err)
			continue
		}
		p.Address, p.TCP, p.UDP = results[i].Address, results[i].TCP, results[i].UDP
		p.Clusters = nil
		for _, server := range p.answeredBy() {
			if c := p.owners[server]; c != "" && !slices.Contains(p.Clusters, c) {
				p.Clusters = append(p.Clusters, c)
			}
		}
		slices.Sort(p.Clusters)
	}
}

// answeredBy are the pods that answered, over both protocols.
func (p ServicePair) answeredBy() []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(p.TCP.Servers)), maps.Keys(p.UDP.Servers))
	slices.Sort(all)
	return slices.Compact(all)
}
