package controller

import (
	"fmt"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// inTurns is a queue in which members take turns, and what fills it.
func inTurns(t *testing.T) (*turns, workqueue.TypedRateLimitingInterface[reconcile.Request], *notifier) {
	t.Helper()
	order := newTurns(memberOf)
	q := order.queue("", workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	t.Cleanup(q.ShutDown)
	n := &notifier{press: order.press}
	if err := n.Start(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	return order, q, n
}

// TestTurns: a member with as many changed services as it may have costs another one that
// has changed one no more than the turns that are its own, again and again.
func TestTurns(t *testing.T) {
	order, q, n := inTurns(t)
	add := func(from, to int) {
		for i := from; i < to; i++ {
			n.notify(fmt.Sprintf("west/demo/flood-%d", i))
		}
	}
	write := func() string {
		r, _ := q.Get()
		q.Done(r)
		return r.Name
	}
	add(0, 20_000)
	for round := range 100 {
		n.notify("south/demo/web")
		first, second := write(), write()
		if first != "south/demo/web" && second != "south/demo/web" {
			t.Fatalf("round %d: %s and %s are before the one service of the quiet member", round, first, second)
		}
		add(0, 10) // these go on
	}
	n.idle("south/demo/a")
	n.idle("south/demo/b")
	n.notify("south/demo/b")
	var got []string
	for len(got) < 2 {
		if name := write(); memberOf(request(name)) == "south" {
			got = append(got, name)
		}
	}
	if fmt.Sprint(got) != "[south/demo/b south/demo/a]" {
		t.Errorf("%v; want the change first, and each once", got)
	}
	for left := q.Len(); left > 0; left-- {
		if name := write(); memberOf(request(name)) != "west" {
			t.Errorf("%s comes twice", name)
		}
	}
	if q.Len() != 0 || len(order.lines)+len(order.order)+len(order.queued)+len(order.marked) != 0 {
		t.Errorf("left behind: %d, %v, %v", q.Len(), order.order, order.marked)
	}
}

// TestTurnsWithin: of one member, changes go before the rest, which comes nevertheless.
func TestTurnsWithin(t *testing.T) {
	order := newTurns(memberOf)
	for i := range 3 {
		order.Push(request(fmt.Sprintf("west/demo/other-%d", i)))
	}
	for i := range 6 {
		r := request(fmt.Sprintf("west/demo/change-%d", i))
		order.press(r)
		order.Push(r)
	}
	got := ""
	for order.Len() > 0 {
		got += order.Pop().Name[len("west/demo/"):][:1]
	}
	if want := "cccocccoo"; got != want {
		t.Errorf("order %s, want %s", got, want)
	}
}

// TestTurnsLater: what is gathered before it comes is a change when it comes.
func TestTurnsLater(t *testing.T) {
	_, q, n := inTurns(t)
	n.idle("west/demo/a")
	n.soon("west/demo/b", time.Millisecond)
	for q.Len() < 2 {
		time.Sleep(time.Millisecond)
	}
	if r, _ := q.Get(); r.Name != "west/demo/b" {
		t.Errorf("%s is first", r.Name)
	}
}

// TestImportsTakeTurns: the import of a quiet member's service does not wait for those of
// all the services that another one changes.
func TestImportsTakeTurns(t *testing.T) {
	r := &imports{namespace: "sdn-tunnel"}
	order := newTurns(r.changer)
	changed := func(cluster, name string) {
		id := remoteservice.Identity{Cluster: cluster, Namespace: "demo", Name: name}
		mirror := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Labels: id.Labels(name)}}
		for _, request := range r.bySlice(t.Context(), mirror) {
			order.Push(request)
		}
	}
	for i := range 20_000 {
		changed("west", fmt.Sprintf("flood-%d", i))
	}
	changed("south", "web")
	if first, second := order.Pop().Name, order.Pop().Name; first != "web" && second != "web" {
		t.Errorf("%s and %s are before the quiet member's service", first, second)
	}
	if order.Len() != 19_999 {
		t.Errorf("%d are left", order.Len())
	}
}
