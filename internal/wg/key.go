package wg

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// keyFile is the key's name in the node's state folder.
const keyFile = "key"

// PrivateKey is a node's private key. It does not print itself.
type PrivateKey struct{ key wgtypes.Key }

// Public is the key that the others know the node by.
func (k PrivateKey) Public() mesh.Key { return mesh.Key(k.key.PublicKey()) }

// IsZero tells whether there is no key.
func (k PrivateKey) IsZero() bool { return k.key == wgtypes.Key{} }

// String keeps the key out of whatever prints it.
func (PrivateKey) String() string { return "(private key)" }

// GoString does the same for %#v.
func (PrivateKey) GoString() string { return "(private key)" }

// MarshalText keeps the key out of encoders.
func (PrivateKey) MarshalText() ([]byte, error) {
	return nil, errors.New("a private key is not to be written")
}

// LogValue keeps the key out of logs.
func (PrivateKey) LogValue() slog.Value { return slog.StringValue("(private key)") }

// NewKey makes a key from the kernel's randomness.
func NewKey() (PrivateKey, error) {
	k, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		return PrivateKey{}, fmt.Errorf("make a private key: %w", err)
	}
	return PrivateKey{k}, nil
}

// LoadOrCreateKey reads the node's key from dir, or makes one there, readable for root
// only. It refuses a file that it cannot read as a key, instead of making the node a
// stranger to its peers.
func LoadOrCreateKey(dir string) (PrivateKey, error) {
	path := filepath.Join(dir, keyFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return createKey(dir, path)
	}
	if err != nil {
		return PrivateKey{}, fmt.Errorf("read the node's key: %w", err)
	}
	k, err := wgtypes.ParseKey(strings.TrimSpace(string(text)))
	if err != nil || k == (wgtypes.Key{}) {
		return PrivateKey{}, fmt.Errorf("%s is not a WireGuard key; restore it, or delete it for a new one", path)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return PrivateKey{}, fmt.Errorf("protect the node's key: %w", err)
	}
	return PrivateKey{k}, nil
}

// createKey writes the key to a file of its own, syncs it, and only then gives it its
// name: a crash leaves either no key or the whole key.
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
	_, err = f.WriteString(k.key.String() + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return PrivateKey{}, errors.Join(fmt.Errorf("write the node's key: %w", err), os.Remove(f.Name()))
	}
	return k, nil
}
