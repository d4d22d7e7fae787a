package wg

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// keyFile is the key's name in the node's state folder.
const keyFile = "key"

// redacted stands for a key wherever it is printed.
const redacted = "(private key)"

// PrivateKey is a node's private key. It does not print itself, under no verb of fmt
// and in no encoder. As fmt cannot call the methods of what is in unexported fields,
// the bytes are kept behind a function: of that even reflection sees an address only.
// The limit is memory itself: a core dump has the key, and so has whoever may call raw.
type PrivateKey struct{ read func() wgtypes.Key }

func keep(k wgtypes.Key) PrivateKey {
	return PrivateKey{read: func() wgtypes.Key { return k }}
}

// raw is the key for the device and the key's file, and for nobody else.
func (k PrivateKey) raw() wgtypes.Key {
	if k.read == nil {
		return wgtypes.Key{}
	}
	return k.read()
}

// Public is the key that the others know the node by.
func (k PrivateKey) Public() mesh.Key { return mesh.Key(k.raw().PublicKey()) }

// IsZero tells whether there is no key.
func (k PrivateKey) IsZero() bool { return k.raw() == wgtypes.Key{} }

// Format keeps the key out of whatever prints it, whichever the verb and its flags.
func (PrivateKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String does the same for who asks for it by name.
func (PrivateKey) String() string { return redacted }

// MarshalText keeps the key out of encoders.
func (PrivateKey) MarshalText() ([]byte, error) {
	return nil, errors.New("a private key is not to be written")
}

// LogValue keeps the key out of logs.
func (PrivateKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// NewKey makes a key from the kernel's randomness.
func NewKey() (PrivateKey, error) {
	k, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		return PrivateKey{}, fmt.Errorf("make a private key: %w", err)
	}
	return keep(k), nil
}

// LoadOrCreateKey reads the node's key from dir, or makes one there, readable for root
// only. It refuses a file that it cannot read as a key, instead of making the node a
// stranger to its peers.
func LoadOrCreateKey(dir string) (PrivateKey, error) {
	path := filepath.Join(dir, keyFile)
	k, err := readKey(path)
	if errors.Is(err, os.ErrNotExist) {
		return createKey(dir, path)
	}
	if err != nil {
		return PrivateKey{}, fmt.Errorf("read the node's key: %w; restore it, or delete it for a new one", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return PrivateKey{}, fmt.Errorf("protect the node's key: %w", err)
	}
	return k, nil
}

// createKey writes the key to a file of its own, syncs it, and only then gives it its
// name, and syncs that too: a crash leaves either no key or the whole key, and none that
// the peers have heard of is lost.
func createKey(dir, path string) (PrivateKey, error) {
	k, err := NewKey()
	if err != nil {
		return PrivateKey{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return PrivateKey{}, fmt.Errorf("make the folder of the node's key: %w", err)
	}
	f, err := os.CreateTemp(dir, keyFile+".*") // mode 0600
	if err != nil {
		return PrivateKey{}, fmt.Errorf("write the node's key: %w", err)
	}
	_, err = f.WriteString(k.raw().String() + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return PrivateKey{}, errors.Join(fmt.Errorf("write the node's key: %w", err), os.Remove(f.Name()))
	}
	if err := syncDir(dir); err != nil {
		return PrivateKey{}, fmt.Errorf("make the name of the node's key last: %w", err)
	}
	return k, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
