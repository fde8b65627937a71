package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// TokenHeader is the header that carries the token of a request.
const TokenHeader = "X-Drover-Token"

// RawRequest makes a request for any path of the API, "/v1/jobs?prefix=a", with this client's token, namespace and region, unless
// the path says another. body may be nil.
func (c *Client) RawRequest(ctx context.Context, method, path string, header http.Header, body []byte) (*http.Request, error) {
	u, err := url.Parse(path)
	if err != nil {
		return nil, fmt.Errorf("parse path: %w", err)
	}
	q := u.Query()
	for name, value := range map[string]string{"namespace": c.cfg.Namespace, "region": c.cfg.Region} {
		if value != "" && !q.Has(name) {
			q.Set(name, value)
		}
	}
	u.Scheme, u.Host, u.RawQuery = c.base.Scheme, c.base.Host, q.Encode()
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), r)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.cfg.Token != "" {
		req.Header.Set(TokenHeader, c.cfg.Token)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	return req, nil
}

// RawDo sends a request made by RawRequest, once. Any answer is one, whatever its status; the caller closes its body.
func (c *Client) RawDo(req *http.Request) (*http.Response, error) {
	res, err := c.http.Do(req)
	if err != nil {
		return nil, newConnError(c.cfg.Addr, &Route{}, false, err)
	}
	return res, nil
}
