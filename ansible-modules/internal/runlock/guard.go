package runlock

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/uptime"
)

const (
	// look is the time between two looks.
	look = time.Second
	// patience is how long a keeper gets to say what came of locks that it did not renew in
	// time: after a machine's sleep it asks first.
	patience = 5 * time.Second
)

// silent is said of locks whose keeper says nothing any more.
const silent = "the locks of this run were not renewed in time, and what keeps them does not say why; " +
	"this run was stopped, so that no two change a cluster at the same time: run this again, which takes up what is there"

// lost says what is wrong with the run's locks; sure tells that it stays so.
func (r Run) lost() (why string, sure bool) {
	var said []string
	late := false
	now := uptime.Now()
	for _, s := range r.states() {
		if s.Lost != "" {
			said = append(said, s.Lost)
		}
		late = late || now > s.Until
	}
	switch {
	case len(said) > 0:
		return strings.Join(said, "\n"), true
	case late:
		return silent, false
	}
	return "", false
}

// await is lost, with some patience for what is not sure.
func (r Run) await(ctx context.Context) string {
	for end := time.Now().Add(patience); ; {
		why, sure := r.lost()
		if why == "" || sure || time.Now().After(end) || ctx.Err() != nil {
			return why
		}
		time.Sleep(look / 10)
	}
}

// Guard ends the context of a module once its run has lost a lock. It fails if that is so
// already. To the function done goes what the module ended with; it returns that or, in its
// place, that the lock was lost.
func Guard(ctx context.Context) (guarded context.Context, done func(error) error, err error) {
	run, err := Find(os.Getppid())
	if errors.Is(err, ErrNoRun) {
		return ctx, func(err error) error { return err }, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return run.guard(ctx)
}

func (r Run) guard(ctx context.Context) (context.Context, func(error) error, error) {
	if why := r.await(ctx); why != "" {
		return nil, nil, errors.New(why)
	}
	guarded, end := context.WithCancelCause(ctx)
	over := make(chan struct{})
	var wait sync.WaitGroup
	lost := ""
	wait.Go(func() {
		for tick := time.Tick(look); lost == ""; {
			select {
			case <-over:
				return
			case <-tick:
			}
			if why, _ := r.lost(); why != "" {
				lost = why
				end(errors.New(why))
			}
		}
	})
	return guarded, func(err error) error {
		close(over)
		wait.Wait()
		end(nil)
		if err == nil || lost == "" {
			return err
		}
		// By now the keeper may know whose they are; or it has them again, and the module was
		// stopped all the same.
		if why := r.await(ctx); why != "" {
			lost = why
		}
		return errors.New(lost)
	}, nil
}
