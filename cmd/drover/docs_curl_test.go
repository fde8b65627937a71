package main

import (
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestDocsCurl sends what the curl lines of docs/api.md would send, to a living agent. Each succeeds, or answers the status that stands
// behind it as a comment.
func TestDocsCurl(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	h := newHerd(t).ready()
	lines := regexp.MustCompile(`(?m)^    (curl .*)$`).FindAllStringSubmatch(string(text), -1)
	if len(lines) < 10 {
		t.Fatalf("found %d curl lines only", len(lines))
	}
	for _, m := range lines {
		req, want := curl(t, m[1], h.addr)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", m[1], err)
		}
		_ = res.Body.Close() // only whether it works is asked
		if res.StatusCode != want {
			t.Errorf("%s: %s, want %d", m[1], res.Status, want)
		}
	}
}

// curl reads a command line as far as the page uses it.
func curl(t *testing.T, line, addr string) (req *http.Request, status int) {
	t.Helper()
	line, comment, _ := strings.Cut(line, " # ")
	status, err := strconv.Atoi(comment)
	if err != nil {
		status = http.StatusOK
	}
	method, body, target, query := "", "", "", url.Values{}
	words := regexp.MustCompile(`'([^']*)'|(\S+)`).FindAllStringSubmatch(line, -1)
	for i := 1; i < len(words); i++ {
		next := func() string {
			i++
			return words[i][1] + words[i][2]
		}
		switch word := words[i][1] + words[i][2]; word {
		case "-X":
			method = next()
		case "-d":
			body = next()
		case "-G":
		case "--data-urlencode":
			name, value, _ := strings.Cut(next(), "=")
			query.Set(name, value)
		default:
			target = word
		}
	}
	target = strings.Replace(target, "127.0.0.1:4646", addr, 1)
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err = http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return req, status
}
