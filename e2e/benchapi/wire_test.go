package main

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
)

// TestWireReadsAnswers: bodies of known length and in chunks, one behind the other on one connection.
func TestWireReadsAnswers(t *testing.T) {
	w := &wire{in: bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\nX-Drover-Index: 17\r\nContent-Length: 3\r\n\r\nabc" +
		"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n" +
		"HTTP/1.1 200 OK\r\n\r\n"))}
	for _, want := range []answer{{200, 17, []byte("abc")}, {404, 0, []byte("def")}} {
		got, err := w.read()
		if err != nil || got.status != want.status || got.index != want.index || !bytes.Equal(got.body, want.body) {
			t.Errorf("got %d, index %d, %q, %v; want %d, %d, %q", got.status, got.index, got.body, err, want.status, want.index, want.body)
		}
	}
	if _, err := w.read(); err == nil {
		t.Error("an answer of unknown length is taken")
	}
}

// TestRequestsAreNumbered: every place that names the job, and the request ID, gets the number.
func TestRequestsAreNumbered(t *testing.T) {
	request, places, body, err := newRequest("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	number(request, places, 42)
	if len(places) != 3 || bytes.Contains(request, []byte("#")) || !bytes.Contains(request[body:], []byte(`"ID":"api-000000042"`)) ||
		!bytes.Contains(request[:body], []byte("Request-Id: request-000000042\r\n")) {
		t.Errorf("%d places: %s", len(places), request)
	}
}

// TestFiguresJudge: a figure without values or with a reason against it does not hold, and says so.
func TestFiguresJudge(t *testing.T) {
	for _, c := range []struct {
		f     figure
		holds bool
	}{
		{figure{sense: atLeast, bound: 10, values: []float64{9, 11, 12}}, true},
		{figure{sense: atLeast, bound: 10, values: []float64{9, 9, 12}}, false},
		{figure{sense: atMost, bound: 10, values: []float64{9}}, true},
		{figure{sense: atMost, bound: 10, values: []float64{11}}, false},
		{figure{sense: atMost, bound: 10}, false},
		{figure{values: []float64{1}, broken: "odd"}, false},
		{figure{values: []float64{1}}, true},
	} {
		if got := c.f.holds(); got != c.holds || (c.f.problem() == "") != c.holds {
			t.Errorf("%+v holds: %v, %q", c.f, got, c.f.problem())
		}
	}
}
