package oauth

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	authnv1 "k8s.io/api/authentication/v1"
)

var testConfig = Config{URL: "https://api.test", User: "admin", Password: "right", Key: []byte("key")}

func TestToken(t *testing.T) {
	now := time.Unix(1000, 0)
	good := issue([]byte("k"), "a.b", now.Add(time.Minute))
	for name, tc := range map[string]struct {
		key, token string
		at         time.Time
		user       string
	}{
		"good":      {"k", good, now, "a.b"},
		"expired":   {"k", good, now.Add(time.Minute), ""},
		"other key": {"x", good, now, ""},
		"changed":   {"k", good[:len(good)-2] + "AA", now, ""},
		"no prefix": {"k", good[7:], now, ""},
		"empty":     {"k", "", now, ""},
		"short":     {"k", "sha256~AAAA", now, ""},
	} {
		t.Run(name, func(t *testing.T) {
			user, err := check([]byte(tc.key), tc.token, tc.at)
			if user != tc.user || (err == nil) != (tc.user != "") {
				t.Fatalf("check = %q, %v; want %q", user, err, tc.user)
			}
		})
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(issue([]byte("k"), "u", time.Unix(5, 0)))
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := check([]byte("another"), token, time.Unix(0, 0)); err == nil {
			t.Fatalf("accepted %q", token)
		}
	})
}

func TestLogin(t *testing.T) {
	for name, tc := range map[string]struct {
		password, csrf string
		status         int
	}{
		"right":          {"right", "1", http.StatusFound},
		"wrong password": {"wrong", "1", http.StatusUnauthorized},
		"no CSRF header": {"right", "", http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/oauth/authorize?response_type=token&client_id="+ChallengingClient, nil)
			r.SetBasicAuth("admin", tc.password)
			if tc.csrf != "" {
				r.Header.Set("X-CSRF-Token", tc.csrf)
			}
			w := httptest.NewRecorder()
			testConfig.authorize(w, r)
			if w.Code != tc.status {
				t.Fatalf("status %d, want %d", w.Code, tc.status)
			}
			if tc.status != http.StatusFound {
				return
			}
			to, err := url.Parse(w.Header().Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			fragment, err := url.ParseQuery(to.Fragment)
			if err != nil {
				t.Fatal(err)
			}
			if got := reviewed(t, fragment.Get("access_token")); !got.Authenticated || got.User.Username != "admin" {
				t.Fatalf("the token is not accepted: %+v", got)
			}
		})
	}
}

func TestReviewRefuses(t *testing.T) {
	if got := reviewed(t, "sha256~nonsense"); got.Authenticated {
		t.Fatal("accepted nonsense")
	}
}

func reviewed(t *testing.T, token string) authnv1.TokenReviewStatus {
	t.Helper()
	body, err := json.Marshal(authnv1.TokenReview{Spec: authnv1.TokenReviewSpec{Token: token}})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	testConfig.review(w, httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body)))
	var out authnv1.TokenReview
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	return out.Status
}
