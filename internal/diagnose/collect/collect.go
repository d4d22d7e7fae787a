package collect

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/diagnose"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshstatus"
	"github.com/sdn-tunnel/sdn-tunnel/internal/podexec"
)

// Options of Diagnose.
type Options struct {
	meshstatus.Options
	// Args are the words of the command line: none, or a pod and what it is to reach.
	Args []string
	// Port and Protocol are what is to be reached there; 0: what the service has, else ping.
	Port     uint16
	Protocol string
	// Kubectl is how each cluster is asked by hand, for remedies; of those without one, by
	// a context of the cluster's name.
	Kubectl map[string]string
	// Progress, if not nil, is told what is done. It may be called by several goroutines.
	Progress func(what string)
}

const (
	// watch is how long agents wait for what does not come at once. WireGuard begins a
	// handshake anew after 5 s.
	watch = 5500 * time.Millisecond
	// meshWatch is the same for the whole mesh.
	meshWatch = 2 * time.Second
	// askTimeout bounds what one agent may take, with the way to it.
	askTimeout = 8500 * time.Millisecond
	// apiTimeout bounds what is asked of the APIs for one question.
	apiTimeout = 8 * time.Second
	// maxNodes is how many nodes are asked for the whole mesh, all at once; those come first
	// whose peers are not up.
	maxNodes = 64
)

// reading is evidence in the making.
type reading struct {
	Options
	members map[string]*member
	names   []string
}

// Diagnose reads the clusters, asks the nodes, and judges. An error wraps ErrUsage when the
// words are not understood; otherwise it says what could not be read.
func Diagnose(ctx context.Context, o Options) (diagnose.Report, error) {
	began := time.Now()
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if len(o.Args) != 0 && len(o.Args) != 2 {
		return diagnose.Report{}, fmt.Errorf("a pod and what it is to reach, or nothing for the whole mesh: %w", ErrUsage)
	}
	r := &reading{Options: o, members: map[string]*member{}}
	r.clusters(ctx)
	var report diagnose.Report
	var err error
	if len(o.Args) == 0 {
		report = diagnose.Whole(r.whole(ctx))
	} else {
		report, err = r.way(ctx)
	}
	report.Since(time.Since(began))
	return report, err
}

// clusters reads all APIs at once.
func (r *reading) clusters(ctx context.Context) {
	r.Progress("reading the APIs")
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.Timeout, apiTimeout))
	defer cancel()
	all := make([]*member, len(r.Members))
	var group sync.WaitGroup
	for i, m := range r.Members {
		group.Go(func() { all[i] = read(ctx, m, r.Options) })
	}
	group.Wait()
	for i, m := range r.Members {
		r.members[m.Name] = all[i]
		r.names = append(r.names, m.Name)
	}
}

func (r *reading) evidence() *diagnose.Evidence {
	e := &diagnose.Evidence{Now: time.Now(), Clusters: map[string]*diagnose.Cluster{}, Nodes: map[mesh.Ref]*diagnose.NodeEvidence{}}
	for name, m := range r.members {
		e.Clusters[name] = m.found
	}
	return e
}

// way diagnoses the way from a pod.
func (r *reading) way(ctx context.Context) (diagnose.Report, error) {
	bounded, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	q, podPort, err := r.question(bounded)
	if err != nil {
		return diagnose.Report{}, err
	}
	e := r.evidence()
	asks := r.asks(&q, podPort)
	r.ask(ctx, e, asks)
	return diagnose.Way(e, q), nil
}

// question finds what the words mean.
func (r *reading) question(ctx context.Context) (q diagnose.Question, podPort uint16, err error) {
	from, err := r.source(ctx, r.Args[0])
	if err != nil {
		return q, 0, err
	}
	q = diagnose.Question{From: from, Port: r.Port, Protocol: r.Protocol}
	target := r.Args[1]
	if a, err := netip.ParseAddr(target); err == nil {
		if q.To, err = r.podAt(ctx, a); err == nil && q.To == nil {
			err = fmt.Errorf("%v is the address of no running pod: %w, or a name", a, ErrUsage)
		}
		return protocol(q), r.Port, err
	}
	var at place
	if strings.Contains(target, "/") {
		if at.object, err = parse(target); err != nil {
			return q, 0, err
		}
		if q.To, err = r.pod(ctx, at.object); err != nil || !q.To.Missing {
			return protocol(q), r.Port, err
		}
	} else {
		q.Name = strings.TrimSuffix(target, ".")
		at = r.zone(target, from.Cluster)
		if q.Zone = at.zone; at.name == "" {
			return protocol(q), 0, nil
		}
	}
	podPort, err = r.reached(ctx, &q, at)
	return protocol(q), podPort, err
}

// reached finds the service at a place, and the pod that it, or the pod's own name, leads to.
func (r *reading) reached(ctx context.Context, q *diagnose.Question, at place) (podPort uint16, err error) {
	service, err := r.held(ctx, at, q.From.Cluster)
	if err != nil || service.Missing && q.To != nil {
		return 0, err // neither a pod nor a service
	}
	q.Service, q.To = service, nil
	if at, err = r.follow(ctx, q, at); err != nil || q.Outside || q.Service.Missing {
		return 0, err
	}
	q.Host = at.host
	first(q)
	*q = protocol(*q)
	q.To, podPort, err = r.behind(ctx, q.Service, q.Protocol, q.Port, q.Host)
	return podPort, err
}

// maxAliases bounds how many services of type ExternalName are followed: they may be a ring.
const maxAliases = 8

// follow goes from a service that stands for a name to the one that has the name.
func (r *reading) follow(ctx context.Context, q *diagnose.Question, at place) (place, error) {
	for s := q.Service; s.Object != nil && s.Object.Spec.Type == corev1.ServiceTypeExternalName; s = q.Service {
		name := strings.TrimSuffix(s.Object.Spec.ExternalName, ".")
		q.Aliases = append(q.Aliases, name)
		at = r.zone(name, s.Cluster)
		if at.name == "" || len(q.Aliases) == maxAliases {
			q.Outside = true
			return at, nil
		}
		var err error
		if q.Service, err = r.held(ctx, at, q.From.Cluster); err != nil {
			return at, fmt.Errorf("service %s stands for %s: %w", s, name, err)
		}
	}
	return at, nil
}

func (r *reading) source(ctx context.Context, word string) (*diagnose.Pod, error) {
	if a, err := netip.ParseAddr(word); err == nil {
		p, err := r.podAt(ctx, a)
		if err == nil && p == nil {
			err = fmt.Errorf("%v is the address of no running pod: %w", a, ErrUsage)
		}
		return p, err
	}
	o, err := parse(word)
	if err != nil {
		return nil, err
	}
	return r.pod(ctx, o)
}

// first takes the service's first port if none was asked for, of TCP if there is one.
func first(q *diagnose.Question) {
	for _, want := range []corev1.Protocol{corev1.ProtocolTCP, ""} {
		for _, p := range q.Service.Object.Spec.Ports {
			if q.Port == 0 && (want == "" || p.Protocol == want) {
				q.Port, q.Protocol = uint16(p.Port), strings.ToLower(string(p.Protocol))
			}
		}
	}
}

// protocol is TCP for a port and ICMP without.
func protocol(q diagnose.Question) diagnose.Question {
	switch {
	case q.Protocol != "":
	case q.Port != 0:
		q.Protocol = "tcp"
	default:
		q.Protocol = "icmp"
	}
	return q
}

// ask has the agents look, all at once.
func (r *reading) ask(ctx context.Context, e *diagnose.Evidence, asks map[mesh.Ref]diagnose.Ask) {
	r.Progress(fmt.Sprintf("asking the agents of %d nodes", len(asks)))
	e.Now = time.Now()
	var mu sync.Mutex
	var group sync.WaitGroup
	for ref, ask := range asks {
		group.Go(func() {
			n := r.look(ctx, ref, ask)
			mu.Lock()
			defer mu.Unlock()
			e.Nodes[ref] = n
		})
	}
	group.Wait()
}

// look runs the agent's trace in its pod.
func (r *reading) look(ctx context.Context, ref mesh.Ref, ask diagnose.Ask) *diagnose.NodeEvidence {
	n := &diagnose.NodeEvidence{Asked: time.Now()}
	m := r.members[ref.Cluster]
	switch {
	case m == nil || m.found.Error != "":
		n.Error = "the API of its cluster is away"
		return n
	case m.found.Agents[ref.Node] == nil:
		n.Error = "no agent runs there"
		return n
	}
	pod := m.found.Agents[ref.Node]
	in, err := json.Marshal(ask)
	if err != nil {
		n.Error = err.Error()
		return n
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	command := append([]string{"/usr/bin/sdn-tunnel-agent", "trace"}, flags(pod)...)
	out, err := podexec.Run(ctx, m.config, m.client, pod.Namespace, pod.Name, in, command...)
	if err == nil {
		err = json.Unmarshal(out, &n.View)
	}
	if n.Answered = time.Now(); err != nil {
		n.Error = err.Error()
		if strings.Contains(n.Error, "is not a command") {
			n.Error = "its agent is of a version that cannot trace: upgrade it"
		}
	}
	return n
}

// flags are those of the agent that tell where things are on its node.
func flags(pod *corev1.Pod) (found []string) {
	for _, c := range pod.Spec.Containers {
		for _, a := range c.Args {
			for _, name := range []string{"--bridge=", "--vnid=", "--state-dir="} {
				if strings.HasPrefix(a, name) {
					found = append(found, a)
				}
			}
		}
	}
	return found
}
