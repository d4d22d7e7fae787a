package diagnose

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

func TestSoundHasNoFault(t *testing.T) {
	w := sound()
	for name, r := range map[string]Report{"way": Way(w.e, w.q), "mesh": Whole(w.e)} {
		if !r.OK || r.First != nil || r.Blind {
			t.Errorf("%s: %+v, first %+v", name, r, r.First)
		}
		for _, s := range r.Steps {
			if s.Outcome != OK {
				t.Errorf("%s: step %s is %s: %s", name, s.Name, s.Outcome, s.Detail)
			}
		}
	}
}

func policy(kind networkingv1.PolicyType) []networkingv1.NetworkPolicy {
	return []networkingv1.NetworkPolicy{{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "only-own"}, Spec: networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{kind}}}}
}

func unreachable(message string) v1alpha1.LinkedClusterStatus {
	return v1alpha1.LinkedClusterStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReachable, Status: metav1.ConditionFalse, Message: message}}}
}

func datagrams(out bool, from string, n int) []Datagrams {
	return []Datagrams{{Out: out, Remote: netip.MustParseAddrPort(from + ":5555"), Count: n}}
}

// TestFirstFault breaks a mesh that is sound in one thing, and holds the finding against the
// words that have to be in it.
func TestFirstFault(t *testing.T) {
	for _, tt := range []struct {
		name, code, says string
		risk             bool
		// open: the packet gets through nevertheless.
		open  bool
		wreck func(w *world)
	}{
		{name: "name in no zone", code: "name-unknown-zone", says: "cluster.east, cluster.west", wreck: func(w *world) { w.q.Zone = "" }},
		{name: "name servers down", code: "dns-down", says: "0 of 2", wreck: func(w *world) { w.east().DNS.Ready = 0 }},
		{name: "no name servers", code: "dns-missing", wreck: func(w *world) { w.east().DNS.Wanted = -1 }},
		{name: "no forward", code: "dns-forward-missing", says: "cluster.west", wreck: func(w *world) { w.east().Forward.Zones = nil }},
		{name: "forward elsewhere", code: "dns-forward-elsewhere", says: "172.30.0.99", wreck: func(w *world) { w.east().Forward.To = "172.30.0.99:53" }},
		{name: "name servers silent", code: "dns-silent", wreck: func(w *world) { w.near().Names[0] = NameView{Error: "no answer"} }},
		{name: "name server fails", code: "name-failed", says: "SERVFAIL", wreck: func(w *world) { w.near().Names[0].Code = "SERVFAIL" }},
		{name: "name not known", code: "name-not-known", wreck: func(w *world) { w.near().Names[0].Code = "NXDOMAIN" }},
		{name: "stale name", code: "name-stale", says: "172.31.0.7", wreck: func(w *world) { w.near().Names[0].Addresses = []netip.Addr{netip.MustParseAddr("172.31.0.8")} }},
		{name: "no service", code: "service-missing", wreck: func(w *world) { w.q.Name, w.q.Service.Missing = "", true }},
		{name: "no endpoints", code: "no-endpoints", says: "selector", wreck: func(w *world) { w.q.Service.Slices = nil }},
		{name: "no such port", code: "service-port", says: "8080/tcp", wreck: func(w *world) { w.q.Port = 81 }},
		{name: "not exported", code: "not-exported", says: "ServiceExport", wreck: func(w *world) { w.west().Links["west"].Spec.ExportPolicy = v1alpha1.ExportExported }},
		{name: "headless", code: "headless", wreck: func(w *world) {
			w.q.Name, w.q.Zone = "", ""
			w.q.Service.Object.Spec.ClusterIP = corev1.ClusterIPNone
		}},
		{name: "not mirrored", code: "service-not-mirrored", says: "unauthorized", wreck: func(w *world) {
			w.q.Service.Mirrors = nil
			w.east().Links["west"].Status = unreachable("unauthorized")
		}},
		{name: "proxy gone", code: "proxy-missing", says: "no such file", wreck: func(w *world) { w.near().ProxyError = "no such file" }},
		{name: "proxy behind", code: "proxy-behind", says: "172.31.0.7", wreck: func(w *world) { w.near().Services[0].Known = false }},
		{name: "pod gone", code: "pod-missing", wreck: func(w *world) { w.q.To.Missing = true }},
		{name: "pod pending", code: "pod-not-running", says: "ImagePullBackOff", wreck: func(w *world) { w.q.To.Phase, w.q.To.Trouble = corev1.PodPending, "ImagePullBackOff" }},
		{name: "hostNetwork", code: "host-network", says: "192.168.60.11", wreck: func(w *world) { w.q.To.HostNetwork, w.q.To.Address = true, netip.MustParseAddr("192.168.60.11") }},
		{name: "not linked", code: "not-linked", wreck: func(w *world) { delete(w.east().Links, "west") }},
		{name: "wrong networks", code: "wrong-cidr", says: "10.140.0.0/14", wreck: func(w *world) { w.east().Links["west"].Spec.PodCIDRs = []v1alpha1.CIDR{"10.140.0.0/14"} }},
		{name: "overlap", code: "overlap", says: "10.128.0.0/14", wreck: func(w *world) {
			w.west().PodCIDRs, w.q.To.Address = nil, netip.MustParseAddr("10.128.5.5")
			for _, c := range w.e.Clusters {
				c.Links["west"].Spec.PodCIDRs = []v1alpha1.CIDR{"10.128.0.0/14"}
			}
		}},
		{name: "API away", code: "api-away", says: "refused", risk: true, open: true, wreck: func(w *world) {
			w.e.Clusters["west"] = &Cluster{Name: "west", Error: "connection refused"}
		}},
		{name: "no agent", code: "agent-missing", says: "kubectl --context admin@west -n tunnels describe daemonset mesh-agent", wreck: func(w *world) {
			delete(w.west().Agents, "west-1")
			w.e.Nodes[west1] = &NodeEvidence{Error: "no agent runs there"}
		}},
		{name: "no agents", code: "agent-missing", says: "namespace tunnels of west has no DaemonSet of agents", wreck: func(w *world) {
			delete(w.west().Agents, "west-1")
			w.west().AgentSet = ""
			w.e.Nodes[west1] = &NodeEvidence{Error: "no agent runs there"}
		}},
		{name: "agent down", code: "agent-down", says: "CrashLoopBackOff", wreck: func(w *world) {
			w.west().Agents["west-1"] = &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}}}}
			w.e.Nodes[west1] = &NodeEvidence{Error: "container not found"}
		}},
		{name: "agent hangs", code: "agent-silent", says: "no answer / it hangs or has just started: kubectl --context admin@east -n tunnels delete pod agent-east-1", wreck: func(w *world) { w.near().Agent, w.near().AgentError = nil, "no answer" }},
		{name: "agent without API", code: "agent-blind", risk: true, open: true, wreck: func(w *world) { w.near().Agent.APIConnected = false }},
		{name: "no TunnelNode", code: "no-tunnelnode", says: "kubectl --context admin@west -n tunnels logs agent-west-1", wreck: func(w *world) { delete(w.west().Nodes, west1) }},
		{name: "no address", code: "no-address", says: "sdn-tunnel-west-1", wreck: func(w *world) {
			w.west().NodeServices["west-1"] = NodeService{Name: "sdn-tunnel-west-1", Type: corev1.ServiceTypeLoadBalancer}
		}},
		{name: "stale endpoint in its own cluster", code: "stale-endpoint", says: "192.168.60.240", wreck: func(w *world) {
			w.west().NodeServices["west-1"] = NodeService{Type: corev1.ServiceTypeLoadBalancer, Addresses: []string{"192.168.60.240"}}
		}},
		{name: "stale endpoint in the other", code: "stale-endpoint", says: "in cluster east", wreck: func(w *world) { w.east().Nodes[west1].Spec.Endpoint.Host = "192.168.60.249" }},
		{name: "wrong key in the other cluster", code: "wrong-key", says: "controller in east does not run", wreck: func(w *world) {
			w.east().Nodes[west1].Spec.PublicKey = eastKey
			w.east().Controller.Ready = 0
		}},
		{name: "wrong subnet", code: "wrong-subnet", wreck: func(w *world) { w.west().HostSubnets["west-1"] = netip.MustParsePrefix("10.132.4.0/23") }},
		{name: "not mirrored node", code: "not-mirrored", wreck: func(w *world) { delete(w.east().Nodes, west1) }},
		{name: "controller down", code: "controller-down", risk: true, open: true, wreck: func(w *world) { w.east().Controller = Workload{} }},
		{name: "access void", code: "member-unreachable", says: "Unauthorized", risk: true, open: true, wreck: func(w *world) { w.east().Links["west"].Status = unreachable("Unauthorized") }},
		{name: "namespace gone", code: "namespace-missing", wreck: func(w *world) { w.near().Namespace = false }},
		{name: "link gone", code: "link-missing", says: "sdntun1", wreck: func(w *world) { w.near().Links[1].Missing = true }},
		{name: "link down", code: "link-down", says: "sdntun0", wreck: func(w *world) { w.near().Links[2].Up = false }},
		{name: "no forwarding", code: "sysctl", says: "ip_forward", wreck: func(w *world) {
			w.near().Sysctls = []Sysctl{{Namespace: OfTunnel, Name: "net.ipv4.ip_forward", Value: "0", Want: "1"}}
		}},
		{name: "no route in the tunnel", code: "route-missing-tunnel", says: "there is none", wreck: func(w *world) {
			w.near().Routes[0] = Route{Namespace: OfTunnel, To: w.q.To.Address, Error: "there is none"}
		}},
		{name: "no route back at the target", code: "route-missing-tunnel", says: "node west.west-1", wreck: func(w *world) { w.far().Routes[0].Link = "eth0" }},
		{name: "no route on the node", code: "route-missing-node", says: "eth0", wreck: func(w *world) {
			w.near().Routes[2].Link, w.q.From.HostNetwork = "eth0", true
			w.near().Routes[2].To = w.q.To.Address
		}},
		{name: "port not on the bridge", code: "switch-port", wreck: func(w *world) { w.near().Switch.Error = "sdntun1 is no port of br0" }},
		{name: "flows missing", code: "flows-missing", says: "table=30", wreck: func(w *world) { w.near().Switch.Missing = []string{"table=30"} }},
		{name: "foreign flow", code: "foreign-flow", says: "priority 400", wreck: func(w *world) {
			w.near().Traces[0].Arrives, w.near().Traces[0].Last = false, "ip, priority 400"
		}},
		{name: "egress policy", code: "egress-policy", says: "shop/only-own", wreck: func(w *world) {
			w.q.From.Policies = policy(networkingv1.PolicyTypeEgress)
			w.near().Traces[0].Arrives, w.near().Traces[0].Table = false, 27
		}},
		{name: "ingress policy", code: "network-policy", says: "shop/only-own", wreck: func(w *world) {
			w.q.To.Policies = policy(networkingv1.PolicyTypeIngress)
			w.far().Traces[0].Arrives, w.far().Traces[0].Table = false, 80
		}},
		{name: "isolation by network id", code: "netid", says: "77", wreck: func(w *world) { w.far().Traces[0].Arrives, w.far().Traces[0].Table = false, 80 }},
		{name: "pod not plugged in", code: "pod-unplugged", wreck: func(w *world) { w.far().Traces[0] = TraceView{Packet: w.far().Traces[0].Packet, Table: 70} }},
		{name: "WireGuard gone", code: "wireguard-missing", wreck: func(w *world) { w.near().Device, w.near().DeviceError = nil, "no such file" }},
		{name: "wrong key in WireGuard", code: "wrong-key", says: eastKey, wreck: func(w *world) { w.near().Device.Peers[0].PublicKey = eastKey }},
		{name: "no peer", code: "peer-missing", wreck: func(w *world) { w.near().Device.Peers = nil }},
		{name: "allowed addresses", code: "allowed-ips", says: "10.132.0.6", wreck: func(w *world) { w.near().Device.Peers[0].AllowedIPs = nil }},
		{name: "port taken", code: "port-not-bound", says: "taken", wreck: func(w *world) {
			w.near().Device.ListenPort, w.near().Agent.Failed = 0, []string{"UDP port 5555 of the node is taken"}
		}},
		{name: "connection tracking full", code: "conntrack-full", says: "262144", wreck: func(w *world) { w.near().Conntrack.Count = 262144 }},
		{name: "clock behind", code: "clock", says: "-1h0m0s", wreck: func(w *world) { w.far().Time = now.Add(-time.Hour) }},
		{name: "clock here", code: "clock-here", says: "-1h0m0s", risk: true, open: true, wreck: func(w *world) {
			w.near().Time, w.far().Time = now.Add(-time.Hour), now.Add(-time.Hour-time.Second)
		}},
		{name: "clock ahead", code: "clock", says: "2m0s", wreck: func(w *world) { w.near().Time = now.Add(2 * time.Minute) }},
		{name: "firewall by its rule", code: "firewall", says: "chain input: drop", wreck: func(w *world) {
			w.silence()
			w.far().Firewall = []string{"table inet filter, chain input: drop"}
		}},
		{name: "firewall by what leaves", code: "firewall", says: "nothing leaves", wreck: func(w *world) { w.silence() }},
		{name: "UDP blocked there", code: "udp-blocked", says: "from east.east-1 to west.west-1", wreck: func(w *world) {
			w.silence()
			w.near().Datagrams = datagrams(true, "192.168.60.201", 3)
		}},
		{name: "UDP blocked back", code: "udp-blocked", says: "from west.west-1 to east.east-1", wreck: func(w *world) {
			w.silence()
			w.near().Datagrams = datagrams(true, "192.168.60.201", 3)
			w.far().Datagrams = append(datagrams(false, "192.168.50.11", 3), datagrams(true, "192.168.50.11", 3)...)
		}},
		{name: "NAT", code: "nat", says: "192.168.50.99", wreck: func(w *world) {
			w.silence()
			w.far().Device.Peers[0].Endpoint = "192.168.50.99:5555"
		}},
		{name: "no handshake", code: "no-handshake", wreck: func(w *world) {
			w.silence()
			w.near().Datagrams, w.far().Datagrams = datagrams(false, "192.168.60.11", 3), datagrams(false, "192.168.50.11", 3)
		}},
		{name: "MTU", code: "mtu", says: "tunnel_mtu: 1380", wreck: func(w *world) { w.near().Peers[0].Full, w.near().Peers[0].Largest = false, 1380 }},
		{name: "nobody listens", code: "refused-connection", says: "8080", wreck: func(w *world) { w.near().Probes[0].Answered, w.near().Probes[0].Refused = true, true }},
		{name: "lost, nobody knows where", code: "lost", says: "no answer", wreck: func(*world) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := sound()
			if !tt.open {
				w.lost()
			}
			tt.wreck(w)
			r := Way(w.e, w.q)
			if r.First == nil {
				t.Fatalf("nothing is found: %+v", r.Steps)
			}
			said := r.First.Object + ": " + r.First.What + " / " + r.First.Remedy
			checkCommands(t, r)
			if r.First.Code != tt.code || !strings.Contains(said, tt.says) || r.First.Remedy == "" || r.First.Risk != tt.risk || r.OK {
				t.Errorf("found %s (risk %v): %s\nwant %s (risk %v) about %q", r.First.Code, r.First.Risk, said, tt.code, tt.risk, tt.says)
			}
		})
	}
}

// checkCommands: commands that a report gives are for what is really there. In the world of
// these tests contexts, namespace and workloads have other names than by default.
func checkCommands(t *testing.T, r Report) {
	t.Helper()
	for _, f := range append(slices.Clone(r.Others), *r.First) {
		text := f.Object + " / " + f.What + " / " + f.Remedy
		if strings.Count(text, "kubectl") != strings.Count(text, "kubectl --context admin@") {
			t.Errorf("%s: a command for no cluster: %s", f.Code, text)
		}
		for _, wrong := range []string{"-n sdn-tunnel", "/sdn-tunnel/", "sdn-tunnel-agent", "-n  "} {
			if strings.Contains(text, wrong) {
				t.Errorf("%s: %q is not there: %s", f.Code, wrong, text)
			}
		}
	}
}

// TestWhatGetsThroughIsNoFault: a finding on the way of a packet that got through is a risk.
func TestWhatGetsThroughIsNoFault(t *testing.T) {
	w := sound()
	w.near().Switch.Missing = []string{"table=30"}
	if r := Way(w.e, w.q); r.First == nil || !r.First.Risk || !strings.Contains(r.Summary(), "it gets through") {
		t.Errorf("%+v", r.First)
	}
}

// TestMesh: what breaks one pair is named once, and the pairs that it breaks.
func TestMesh(t *testing.T) {
	w := sound()
	w.silence()
	w.far().Firewall = []string{"table inet filter, chain input: drop"}
	r := Whole(w.e)
	if r.First == nil || r.First.Code != "firewall" || r.First.Object != "node west.west-1" || !strings.Contains(r.Subject, "2 of them broken") {
		t.Errorf("%s: %+v", r.Subject, r.First)
	}
	delete(w.e.Nodes, west1)
	if r = Whole(w.e); !r.OK || !strings.Contains(r.Subject, "1 more nodes were not looked at") {
		t.Errorf("a node that was not asked: %s: %+v", r.Subject, r.First)
	}
	delete(w.west().Nodes, west1)
	if r = Whole(w.e); r.First == nil || r.First.Code != "no-tunnelnode" {
		t.Errorf("%+v", r.First)
	}
	w = sound()
	w.east().DNS.Ready = 0
	if r = Whole(w.e); r.First == nil || r.First.Code != "dns-down" {
		t.Fatalf("%+v", r.First)
	}
	checkCommands(t, r)
}

// TestBlind: what cannot be looked at is said, and is no all-clear.
func TestBlind(t *testing.T) {
	w := sound()
	w.near().Probes = nil
	r := Way(w.e, w.q)
	if r.OK || !r.Blind || r.First != nil || !strings.Contains(r.Summary(), "could be looked at") {
		t.Errorf("%+v", r)
	}
}

// TestTable: the report for people has the fault, the remedy, and colour on a terminal only.
func TestTable(t *testing.T) {
	w := sound()
	w.lost()
	w.near().Switch.Missing = []string{"table=30\x1b[2J"} // what comes from a node is no command for the terminal
	r := Way(w.e, w.q)
	var plain, colour strings.Builder
	if err := r.WriteTable(&plain, false); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteTable(&colour, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"FAULT the first one on the way", "node east.east-1: 1 of sdn-tunnel's flows", "remedy: ", "source: flows and policy", "east/shop/front -> web.shop.svc.cluster.west"} {
		if !strings.Contains(plain.String(), want) {
			t.Errorf("%q is not in\n%s", want, plain.String())
		}
	}
	if strings.Contains(plain.String(), "\x1b") || !strings.Contains(colour.String(), "\x1b") {
		t.Error("colour is not where it should be")
	}
}
