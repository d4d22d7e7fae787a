package agent

import (
	"errors"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/wg"
)

// keyRing is the node's key, in its files and in the cable.
type keyRing struct {
	files *wg.Keys
	cable *wg.Part
}

func (k *keyRing) Public() (mesh.Key, time.Time) {
	key, since := k.files.Current()
	return key.Public(), since
}

func (k *keyRing) Prepare() (mesh.Key, error) {
	next, err := k.files.Next()
	return next.Public(), err
}

// Switch changes the cable before the files: peers that have heard of the key do not wait
// for the disk.
func (k *keyRing) Switch() error {
	next, err := k.files.Next()
	if err != nil {
		return err
	}
	before, _ := k.files.Current()
	err = k.cable.Rekey(next)
	if err == nil {
		err = k.files.Switch()
	}
	if err != nil {
		return errors.Join(err, k.cable.Rekey(before))
	}
	return nil
}

func (k *keyRing) Back() error {
	former, err := k.files.Former()
	if err != nil {
		return err
	}
	return errors.Join(k.cable.Rekey(former), k.files.Back())
}

func (k *keyRing) Pending() bool { return k.files.Pending() }
func (k *keyRing) Drop() error   { return k.files.Drop() }
func (k *keyRing) Forget() error { return k.files.Forget() }
