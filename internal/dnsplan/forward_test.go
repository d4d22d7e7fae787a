package dnsplan

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sdn-tunnel/sdn-tunnel/internal/golden"
)

const kubeadm = `.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30
    loop
    reload
    loadbalance
}
`

var zones = []string{"cluster.east", "cluster.west", "31.172.in-addr.arpa"}

func TestForward(t *testing.T) {
	for _, tt := range []struct{ name, corefile, head string }{
		{"kubeadm", kubeadm, "cluster.east:53 cluster.west:53 31.172.in-addr.arpa:53 {"},
		{"another port", strings.Replace(kubeadm, ".:53", "dns://.:5353", 1), "cluster.east:5353 cluster.west:5353 31.172.in-addr.arpa:5353 {"},
		{"no port", strings.Replace(kubeadm, ".:53", ".", 1), "cluster.east cluster.west 31.172.in-addr.arpa {"},
		{"no final newline", strings.TrimSuffix(kubeadm, "\n"), "cluster.east:53 cluster.west:53 31.172.in-addr.arpa:53 {"},
		{"carriage returns", strings.ReplaceAll(kubeadm, "\n", "\r\n"), "cluster.east:53 cluster.west:53 31.172.in-addr.arpa:53 {"},
		{"snippets and imports", "import /etc/coredns/*.override\n(common) {\n    errors\n}\nexample.org:1053, example.com:1053 {\n    import common\n    template IN A {\n        answer \"{{ .Name }} 60 IN A {\"\n    }\n}\n# .:99 {\n" + kubeadm,
			"cluster.east:53 cluster.west:53 31.172.in-addr.arpa:53 {"},
		{"only another zone", "tls://example.net {\n}\nexample.org:1053 {\n}\n", "cluster.east:1053 cluster.west:1053 31.172.in-addr.arpa:1053 {"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Forward(tt.corefile, zones, "172.30.0.53")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(got, "\n"+tt.head+"\n") || !strings.HasSuffix(got, tt.corefile) || !strings.Contains(got, "forward . 172.30.0.53 {") {
				t.Errorf("got:\n%s", got)
			}
			again, err := Forward(got, zones, "172.30.0.53")
			if err != nil || again != got {
				t.Errorf("a second time: %v\n%s", err, cmp.Diff(got, again))
			}
			other, err := Forward(got, zones[:1], "172.30.0.54")
			if err != nil || strings.Contains(other, "cluster.west") || strings.Contains(other, "0.53") || strings.Count(other, beginWord) != 1 {
				t.Errorf("renewed: %v\n%s", err, other)
			}
			if back, err := Unforward(other); err != nil || back != tt.corefile {
				t.Errorf("taken out: %v\n%s", err, cmp.Diff(tt.corefile, back))
			}
		})
	}
}

// TestForwardGolden shows a whole file.
func TestForwardGolden(t *testing.T) {
	got, err := Forward(kubeadm, zones, "172.30.0.53")
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "forward.corefile", got)
}

// TestForwardMoved: whoever moves the block finds it there after the next deploy.
func TestForwardMoved(t *testing.T) {
	first, err := Forward(kubeadm, zones, "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	block := strings.TrimSuffix(first, kubeadm)
	moved := kubeadm + "\n" + block + "# mine\n"
	got, err := Forward(moved, zones, "192.0.2.2")
	if want := strings.ReplaceAll(moved, "192.0.2.1", "192.0.2.2"); err != nil || got != want {
		t.Errorf("%v\n%s", err, cmp.Diff(want, got))
	}
}

func TestForwardRefused(t *testing.T) {
	for _, tt := range []struct{ name, corefile, want string }{
		{"empty", "", ErrNoServer.Error()},
		{"not plain DNS", "tls://. {\n}\n", ErrNoServer.Error()},
		{"taken", kubeadm + "Cluster.West.:53 {\n    forward . 192.0.2.9\n}\n", "has a server block for cluster.west, which is not"},
		{"open brace", ".:53 {\n", "not in pairs"},
		{"closing brace", ".:53 {\n}\n}\n", "more closing"},
		{"no end", beginMark + "\n" + kubeadm, "no line \"# END sdn-tunnel\" after it"},
		{"no begin", endMark + "\n" + kubeadm, "do not make one pair"},
		{"two", beginMark + "\n" + endMark + "\n" + beginMark + "\n" + endMark + "\n" + kubeadm, "do not make one pair"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Forward(tt.corefile, zones, "192.0.2.1")
			if err == nil || got != "" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
	if _, err := Forward("", zones, "192.0.2.1"); !errors.Is(err, ErrNoServer) {
		t.Errorf("got %v", err)
	}
	// The same zone at another port is another server.
	if _, err := Forward(kubeadm+"cluster.west:1053 {\n}\n", zones, "192.0.2.1"); err != nil {
		t.Error(err)
	}
}

// FuzzForward: whatever a Corefile is, what was put in comes out again, and doing it
// twice is doing it once.
func FuzzForward(f *testing.F) {
	f.Add(kubeadm)
	f.Add(".:53 {\n}\n" + beginMark + "\nx {\n}\n" + endMark + "\nrest")
	f.Add("# {\n\"a b\" :53 {\r\n}\r\nimport x {\n")
	f.Add("a {$PORT} {\n}\n(s) {\n}\n")
	f.Fuzz(func(t *testing.T, corefile string) {
		plain, err := Unforward(corefile)
		if err != nil {
			return
		}
		got, err := Forward(corefile, zones, "192.0.2.1")
		if err != nil {
			return
		}
		if back, err := Unforward(got); err != nil || back != plain {
			t.Errorf("%q: taken out: %q, %v, want %q", corefile, back, err, plain)
		}
		if again, err := Forward(got, zones, "192.0.2.1"); err != nil || again != got {
			t.Errorf("%q: twice: %v\n%s", corefile, err, cmp.Diff(got, again))
		}
	})
}

func TestServers(t *testing.T) {
	corp := map[string]any{"name": "corp", "zones": []any{"corp.example.com"}, "forwardPlugin": map[string]any{"upstreams": []any{"192.0.2.53"}}}
	made, err := WithServer([]any{corp}, zones, "172.30.0.53:53")
	if err != nil || len(made) != 2 || !cmp.Equal(made[0], corp) {
		t.Fatalf("got %v, %v", made, err)
	}
	// The API server adds defaults; they are no difference.
	served := map[string]any{"name": ServerName, "zones": []any{"cluster.east", "cluster.west", "31.172.in-addr.arpa"},
		"forwardPlugin": map[string]any{"policy": "Random", "upstreams": []any{"172.30.0.53:53"}, "protocolStrategy": "", "transportConfig": map[string]any{}}}
	if got, err := WithServer([]any{served, corp}, zones, "172.30.0.53:53"); err != nil || !cmp.Equal(got, []any{served, corp}) {
		t.Errorf("unchanged: %v, %v", got, err)
	}
	for name, change := range map[string]func() ([]any, error){
		"zones":    func() ([]any, error) { return WithServer([]any{served, corp}, zones[:2], "172.30.0.53:53") },
		"upstream": func() ([]any, error) { return WithServer([]any{served, corp}, zones, "172.30.0.54:53") },
	} {
		got, err := change()
		if err != nil || len(got) != 2 || cmp.Equal(got[0], any(served)) || !cmp.Equal(got[1], any(corp)) {
			t.Errorf("other %s: %v, %v", name, got, err)
		}
	}
	if got := WithoutServer([]any{corp, served}); !cmp.Equal(got, []any{corp}) {
		t.Errorf("without: %v", got)
	}
	if got := WithoutServer(slices.Clone(made[:1])); !cmp.Equal(got, []any{corp}) {
		t.Errorf("without, where it is not: %v", got)
	}
	taken := map[string]any{"name": "old", "zones": []any{"cluster.west"}}
	if _, err := WithServer([]any{taken}, zones, "192.0.2.1:53"); err == nil || !strings.Contains(err.Error(), `entry "old" for cluster.west`) {
		t.Errorf("a zone that is taken: %v", err)
	}
	// That of the Multi-Cluster Services API cannot be called otherwise.
	taken["zones"] = []any{ClusterSetZone}
	_, server := WithServer([]any{taken}, []string{ClusterSetZone}, "192.0.2.1:53")
	_, block := Forward(kubeadm+ClusterSetZone+":53 {\n}\n", []string{ClusterSetZone}, "192.0.2.1")
	for _, err := range []error{server, block} {
		if err == nil || !strings.Contains(err.Error(), "or set dns_clusterset: false") {
			t.Errorf("clusterset.local is taken: %v", err)
		}
	}
	if got, err := WithServer(nil, zones, "192.0.2.1:53"); err != nil || len(got) != 1 {
		t.Errorf("an empty list: %v, %v", got, err)
	}
	if got, err := WithServer([]any{"nonsense", nil}, zones, "192.0.2.1:53"); err != nil || len(got) != 3 {
		t.Errorf("a strange list: %v, %v", got, err)
	}
}
