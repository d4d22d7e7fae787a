package controller

import (
	"container/list"
	"sync"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// pressingInARow is how many pressing keys of a member are taken before one of its others,
// so that these come, too, however many pressing ones there are.
const pressingInARow = 3

// turns is what waits in a controller's queue, by the member that it is for: each member
// has one turn after the other, so that what one of them has done, however much that is,
// costs the others no more than one key for each of theirs. While only one has anything
// to do, it has all of the workers.
type turns struct {
	member func(reconcile.Request) string

	mu sync.Mutex
	// marked are those to go before the others of their members when they come.
	marked map[reconcile.Request]bool
	lines  map[string]*line
	order  []string // of the members with a line, the next one first
	queued map[reconcile.Request]place
}

// line is what waits of one member.
type line struct {
	pressing, others list.List
	row              int // pressing ones since the last other
}

// place is where a key waits.
type place struct {
	member string
	in     *list.List
	at     *list.Element
}

func newTurns(member func(reconcile.Request) string) *turns {
	return &turns{member: member, marked: map[reconcile.Request]bool{}, lines: map[string]*line{}, queued: map[reconcile.Request]place{}}
}

// queue is a controller's queue in that order.
func (t *turns) queue(name string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
	ordered := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[reconcile.Request]{Name: name, Queue: t})
	delaying := workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[reconcile.Request]{Name: name, Queue: ordered})
	return workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[reconcile.Request]{Name: name, DelayingQueue: delaying})
}

// press marks a key that is about to be added.
func (t *turns) press(r reconcile.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.marked[r] = true
}

// Push implements workqueue.Queue.
func (t *turns) Push(r reconcile.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.push(r, t.marked[r])
}

// Touch implements workqueue.Queue: r waits, and somebody adds it once more.
func (t *turns) Touch(r reconcile.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	is := t.queued[r]
	if pressing := is.in == &t.lines[is.member].pressing; pressing || !t.marked[r] {
		delete(t.marked, r)
		return
	}
	t.take(r)
	t.push(r, true)
}

// Len implements workqueue.Queue.
func (t *turns) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.queued)
}

// Pop implements workqueue.Queue; there is at least one.
func (t *turns) Pop() reconcile.Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.order[0]
	r := t.lines[m].next()
	t.take(r)
	if t.lines[m] != nil {
		t.order = append(t.order[1:], m)
	}
	return r
}

func (t *turns) push(r reconcile.Request, pressing bool) {
	delete(t.marked, r)
	m := t.member(r)
	l := t.lines[m]
	if l == nil {
		l = &line{}
		t.lines[m] = l
		t.order = append(t.order, m)
	}
	in := &l.others
	if pressing {
		in = &l.pressing
	}
	t.queued[r] = place{m, in, in.PushBack(r)}
}

// take takes a key out of its line, and a line that is empty then out of the order.
func (t *turns) take(r reconcile.Request) {
	p := t.queued[r]
	delete(t.queued, r)
	p.in.Remove(p.at)
	if l := t.lines[p.member]; l.pressing.Len()+l.others.Len() > 0 {
		return
	}
	delete(t.lines, p.member)
	for i, m := range t.order {
		if m == p.member {
			t.order = append(t.order[:i], t.order[i+1:]...)
			return
		}
	}
}

// next is the key whose turn it is in the line.
func (l *line) next() reconcile.Request {
	from := &l.pressing
	if from.Len() == 0 || l.others.Len() > 0 && l.row >= pressingInARow {
		from, l.row = &l.others, 0
	} else {
		l.row++
	}
	r, _ := from.Front().Value.(reconcile.Request)
	return r
}
