package oauth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const prefix = "sha256~" // as OpenShift's tokens begin

// Lifetime of a token, OpenShift's default.
const Lifetime = 24 * time.Hour

var errToken = errors.New("not a token of this server, or expired")

// issue makes a token for user that is good until then.
func issue(key []byte, user string, until time.Time) string {
	claim := fmt.Sprintf("%d.%s", until.Unix(), user)
	text := claim + "." + string(sum(key, claim))
	return prefix + base64.RawURLEncoding.EncodeToString([]byte(text))
}

// check tells whose token it is.
func check(key []byte, token string, now time.Time) (user string, err error) {
	text, ok := strings.CutPrefix(token, prefix)
	if !ok {
		return "", errToken
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) < sha256.Size+1 {
		return "", errToken
	}
	claim, mac := string(raw[:len(raw)-sha256.Size-1]), raw[len(raw)-sha256.Size:]
	if !hmac.Equal(mac, sum(key, claim)) {
		return "", errToken
	}
	expiry, user, ok := strings.Cut(claim, ".")
	until, err := strconv.ParseInt(expiry, 10, 64)
	if !ok || err != nil || now.Unix() >= until {
		return "", errToken
	}
	return user, nil
}

func sum(key []byte, claim string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(claim))
	return h.Sum(nil)
}
