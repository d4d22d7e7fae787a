package remoteservice

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// Digest stands for the name of a service in the names of objects of this cluster: 26
// characters that may stand in a DNS label, long enough that a member cannot find two
// names with the same one.
func Digest(name string) string {
	sum := sha256.Sum256([]byte(name))
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
}
