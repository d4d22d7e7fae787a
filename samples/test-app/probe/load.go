package probe

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/server"
)

// LoadRequest is which services to ask again and again; it is read as JSON from standard
// input, whose end is the load's. Requests of the services does not matter.
type LoadRequest struct {
	Services []Service `json:"services"`
	// IntervalMilliseconds is from one question of a service and protocol to the next;
	// default 100.
	IntervalMilliseconds int `json:"intervalMilliseconds,omitempty"`
	// TimeoutSeconds bounds each question; default 5.
	TimeoutSeconds int `json:"timeoutSeconds,omitempty"`
}

// LoadResult is how one service answered all the time.
type LoadResult struct {
	Service Service `json:"service"`
	TCP     Course  `json:"tcp"`
	UDP     Course  `json:"udp"`
}

// Course is how the questions of one protocol went. Every one is a connection, or socket,
// of its own, for whose name the resolver is asked.
type Course struct {
	Asked    int `json:"asked"`
	Answered int `json:"answered"`
	// Again is how many datagrams were answered only when they were sent once more.
	Again int `json:"again,omitempty"`
	// Servers is how often each pod answered.
	Servers map[string]int `json:"servers"`
	// SlowestMilliseconds is how long the slowest answer took.
	SlowestMilliseconds int64 `json:"slowestMilliseconds"`
	// Failures are the first of those that there were, each with its time.
	Failures []string `json:"failures,omitempty"`
}

// maxFailures is how many a Course spells out.
const maxFailures = 5

// Load asks all services at once, by TCP and by UDP, until ctx ends. What has been asked
// by then is waited for.
func Load(ctx context.Context, req LoadRequest) []LoadResult {
	if req.IntervalMilliseconds <= 0 {
		req.IntervalMilliseconds = 100
	}
	if req.TimeoutSeconds <= 0 {
		req.TimeoutSeconds = 5
	}
	interval, timeout := time.Duration(req.IntervalMilliseconds)*time.Millisecond, time.Duration(req.TimeoutSeconds)*time.Second
	results := make([]LoadResult, len(req.Services))
	var wg sync.WaitGroup
	for i, s := range req.Services {
		results[i].Service = s
		a := asker{hostPort: net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), timeout: timeout}
		wg.Go(func() { results[i].TCP = course(ctx, interval, 0, a.tcp) })
		wg.Go(func() { results[i].UDP = course(ctx, interval, 1, a.udp) })
	}
	wg.Wait()
	return results
}

// course asks once in an interval; what has no answer may be asked so many times again.
func course(ctx context.Context, interval time.Duration, again int, ask func(context.Context, int) (server.Answer, net.Conn, error)) Course {
	c := Course{Servers: map[string]int{}}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for ; ctx.Err() == nil; c.Asked++ {
		began := time.Now()
		answer, _, err := ask(context.WithoutCancel(ctx), c.Asked)
		for n := again; err != nil && n > 0; n-- {
			if answer, _, err = ask(context.WithoutCancel(ctx), c.Asked); err == nil {
				c.Again++
			}
		}
		if err == nil {
			c.Answered++
			c.Servers[answer.Pod]++
			c.SlowestMilliseconds = max(c.SlowestMilliseconds, time.Since(began).Milliseconds())
		} else if len(c.Failures) < maxFailures {
			c.Failures = append(c.Failures, fmt.Sprintf("%s: %v", began.UTC().Format("15:04:05.000"), err))
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return c
}
