package kubeaccess

import (
	"context"
	"errors"
	"sync"
)

// All are clusters that answered, in the order of the Args they were opened with.
type All []*Access

// OpenAll opens several clusters at once. It is all or none: with an error, which has that
// of each cluster that could not be opened, the others are closed again.
func OpenAll(ctx context.Context, args []Args) (All, error) {
	all, errs := make(All, len(args)), make([]error, len(args))
	var wg sync.WaitGroup
	for i, a := range args {
		wg.Go(func() { all[i], errs[i] = Open(ctx, a) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, all.Close(ctx))
	}
	return all, nil
}

// Close closes all of them at once.
func (all All) Close(ctx context.Context) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, acc := range all {
		wg.Go(func() { errs[i] = acc.Close(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
