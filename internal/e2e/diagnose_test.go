package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// fault is something that is broken, and what diagnose has to name first.
type fault struct {
	name string
	// code is the finding's; empty: there is none.
	code string
	// args are the words for diagnose.
	args []string
	// inject breaks it, and gives what puts it right again.
	inject func(t *testing.T) (restore func())
	// settle is what has to be seen before it is asked for.
	settle func() bool
}

// diagnosis is what is read of `diagnose -o json`.
type diagnosis struct {
	OK      bool
	Seconds float64
	First   *struct {
		Code, Object, What, Remedy string
		Risk                       bool
	}
	Others []struct{ Code, Object, What string }
	Steps  []struct{ Name, Outcome, Detail string }
}

// named is a line of the table of faults.
type named struct {
	fault, want, got, what string
	took                   time.Duration // all of it
	looked                 float64       // of which the diagnosis, in seconds
}

// diagnose asks why.
func (l *lab) diagnose(t *testing.T, args ...string) (diagnosis, result) {
	t.Helper()
	r := l.tunnel(t, time.Minute, append([]string{"diagnose", "-i", l.Inventory, "-o", "json"}, args...)...)
	var d diagnosis
	if err := json.Unmarshal([]byte(strings.TrimSuffix(r.out, r.diag)), &d); err != nil {
		t.Logf("diagnose %v: exit %d: %v\n%s", args, r.code, err, r.out)
	}
	return d, r
}

// diagnoseNamesFaults breaks one thing after the other and has diagnose find it.
func diagnoseNamesFaults(t *testing.T, l *lab) {
	l.pods(t)
	l.kubectl(t, "west", "apply", "-f", filepath.Join(l.root, "internal/e2e/testdata/isolate.yaml"), "-f", filepath.Join(l.root, "internal/e2e/testdata/diagnose.yaml"))
	t.Cleanup(func() {
		l.kubectl(t, "west", "delete", "--ignore-not-found", "-f", filepath.Join(l.root, "internal/e2e/testdata/diagnose.yaml"))
	})
	b := &breaker{lab: l, from: l.podName(t, "east", "open", "east-1"), to: l.podName(t, "west", "open", "west-1")}
	b.sound(t, time.Minute)
	began := time.Now()
	var table []named
	right := 0
	for _, f := range b.faults(t) {
		line := b.try(t, f)
		table = append(table, line)
		if line.want == line.got && line.looked < 10 {
			right++
		}
	}
	b.sound(t, time.Minute)
	shown := faultTable(table)
	t.Logf("%d faults in %.0f s, %d named right within 10 s\n%s", len(table), time.Since(began).Seconds(), right, shown)
	if len(table) < 20 || right < len(table)-2 {
		t.Errorf("%d of %d faults were named right, want at least 20 and all but two", right, len(table))
	}
}

func faultTable(lines []named) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "FAULT\tNAMED\tRIGHT\tSECONDS\tWITH START\tAS")
	for _, n := range lines {
		what := []rune(n.what)
		fmt.Fprintf(w, "%s\t%s\t%v\t%.1f\t%.1f\t%s\n", n.fault, cmp.Or(n.got, "none"), n.want == n.got, n.looked, n.took.Seconds(), string(what[:min(len(what), 110)]))
	}
	if err := w.Flush(); err != nil {
		return err.Error()
	}
	return b.String()
}

// breaker breaks things between two pods.
type breaker struct {
	*lab
	from, to string
}

// try injects a fault, asks, and puts things right.
func (b *breaker) try(t *testing.T, f fault) named {
	t.Helper()
	line := named{fault: f.name, want: f.code}
	restore := func() {}
	if f.inject != nil {
		restore = f.inject(t)
	}
	defer restore()
	if f.settle != nil {
		eventually(t, 40*time.Second, "the fault shows: "+f.name, f.settle)
	}
	args := f.args
	if args == nil {
		args = []string{b.from, b.to}
	}
	d, r := b.diagnose(t, args...)
	line.took, line.looked = r.took, d.Seconds
	if d.First != nil {
		line.got, line.what = d.First.Code, d.First.Object+": "+d.First.What
		if d.First.Remedy == "" {
			t.Errorf("%s: no remedy", f.name)
		}
	}
	if want := map[bool]int{true: 0, false: 1}[f.code == ""]; r.code != want && line.got == f.code {
		t.Errorf("%s: exit %d, want %d", f.name, r.code, want)
	}
	if line.got != line.want {
		t.Logf("%s: named %q, want %q:\n%s", f.name, line.got, line.want, r.out)
	}
	return line
}

// sound waits until nothing is wrong between the two pods.
func (b *breaker) sound(t *testing.T, limit time.Duration) {
	t.Helper()
	last := ""
	defer func() {
		if t.Failed() {
			t.Logf("the last diagnosis was:\n%s", last)
		}
	}()
	eventually(t, limit, "nothing is wrong", func() bool {
		d, r := b.diagnose(t, b.from, b.to)
		last = r.out
		return d.OK
	})
}

// podName is the pod of a namespace on a node, as diagnose takes it.
func (l *lab) podName(t *testing.T, cluster, namespace, node string) string {
	t.Helper()
	name := l.kubectl(t, cluster, "-n", namespace, "get", "pods", "--field-selector", "spec.nodeName="+node, "-o", "jsonpath={.items[0].metadata.name}")
	return cluster + "/" + namespace + "/" + name
}

// again does something on a node over and over, faster than its agent puts it right: between
// two times it is right for a moment only.
func (b *breaker) again(t *testing.T, node, command string) (restore func()) {
	t.Helper()
	r := b.node(t, node, `setsid timeout 60 sh -c 'while :; do `+command+`; sleep 0.01; done' >/dev/null 2>&1 </dev/null & echo $!`)
	r.must(t)
	time.Sleep(500 * time.Millisecond)
	pid := strings.TrimSpace(r.out)
	return func() {
		b.node(t, node, "kill -- -"+pid+" 2>/dev/null || kill "+pid+" 2>/dev/null || true").must(t)
	}
}

// on runs a command on a node, and another one to undo it.
func (b *breaker) on(t *testing.T, node, do, undo string) (restore func()) {
	t.Helper()
	b.node(t, node, do).must(t)
	return func() { b.node(t, node, undo).must(t) }
}

// router loads a chain into the router between the clusters.
func (b *breaker) router(t *testing.T, chain string) (restore func()) {
	t.Helper()
	nft := func(command string) {
		b.operator(t, time.Minute, "nsenter", "--net=/run/netns/"+b.lab.name+"-router", "nft", command).must(t)
	}
	nft("table ip diagnose { chain c { " + chain + "; }; }")
	return func() { nft("delete table ip diagnose") }
}

// patch merges a patch into an object of a cluster, and gives what merges another one.
func (b *breaker) patch(t *testing.T, cluster, object, do, undo string) (restore func()) {
	t.Helper()
	patch := func(text string) {
		b.kubectl(t, cluster, "-n", "sdn-tunnel", "patch", object, "--type=merge", "-p", text)
	}
	patch(do)
	return func() { patch(undo) }
}

// scale sets the replicas of a Deployment, and waits for those that there shall be again.
func (b *breaker) scale(t *testing.T, cluster, namespace, name string) (restore func()) {
	t.Helper()
	was := b.kubectl(t, cluster, "-n", namespace, "get", "deployment", name, "-o", "jsonpath={.spec.replicas}")
	b.kubectl(t, cluster, "-n", namespace, "scale", "deployment", name, "--replicas=0")
	return func() {
		b.kubectl(t, cluster, "-n", namespace, "scale", "deployment", name, "--replicas="+was)
		b.kubectl(t, cluster, "-n", namespace, "rollout", "status", "deployment", name, "--timeout=90s")
	}
}
