package catalog

import "sigs.k8s.io/controller-runtime/pkg/client"

// table is where a reflector puts what it reads.
type table struct {
	c *Catalog
	f *feed
}

// Add takes an object that is there.
func (t *table) Add(o any) error {
	if one, ok := o.(client.Object); ok {
		t.f.put(one)
	}
	return nil
}

// Update takes an object that is another than before.
func (t *table) Update(o any) error { return t.Add(o) }

// Delete takes an object that is gone.
func (t *table) Delete(o any) error {
	if one, ok := o.(client.Object); ok {
		t.f.drop(keyOf(one))
	}
	return nil
}

// Replace takes all that there is.
func (t *table) Replace(all []any, _ string) error {
	before := t.f.keys()
	full := t.c.forget(t.f.kind)
	here := make(map[Key]struct{}, len(all))
	for _, o := range all {
		if one, ok := o.(client.Object); ok {
			t.f.put(one)
			here[keyOf(one)] = struct{}{}
		}
	}
	for _, k := range before {
		if _, still := here[k]; !still {
			t.f.drop(k)
		}
	}
	t.c.listed(t.f, full)
	return nil
}

// forget what had no room, as it is all said anew, and tell whether there was any.
func (c *Catalog) forget(kind string) (full bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	full = len(c.tooMany) > 0
	for o := range c.tooMany {
		if o.kind == kind {
			delete(c.tooMany, o)
		}
	}
	return full
}

// Resync has nothing to do here.
func (t *table) Resync() error { return nil }

// listed notes that a kind has been read, and tells when all have for the first time, and
// when there is room again.
func (c *Catalog) listed(f *feed, full bool) {
	c.mu.Lock()
	f.synced = true
	was := c.synced
	c.synced = true
	for _, one := range c.feeds {
		c.synced = c.synced && one.synced
	}
	first, room := c.synced && !was, full && len(c.tooMany) == 0
	c.mu.Unlock()
	if first {
		c.options.All()
	}
	if first || room {
		c.options.Moved()
	}
}
