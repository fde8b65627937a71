package api

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// upgradeHeaders are what opens a websocket, and travels with it to another agent.
func upgradeHeaders() []string {
	return []string{"Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Protocol"}
}

// checkUpgrade refuses what is not the opening of a websocket, or comes from a page of another origin: browsers ask nobody before
// they open one, and send it as a harmless GET.
func (c *call) checkUpgrade() error {
	h := c.r.Header
	if !strings.EqualFold(h.Get("Upgrade"), "websocket") || !strings.Contains(strings.ToLower(h.Get("Connection")), "upgrade") ||
		h.Get("Sec-Websocket-Key") == "" || h.Get("Sec-Websocket-Version") != "13" {
		return NewError(CodeInvalid, "ask with a websocket client, version 13, or use the command line", "%s %s answers by a websocket", c.rt.Method, c.rt.Path)
	}
	origin := h.Get("Origin")
	if origin == "" {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || !strings.EqualFold(u.Host, c.r.Host) {
		return NewError(CodeForbidden, "use the command line, or a page that the agent itself serves",
			"a page of the origin %q asked for this: the agent takes nothing from it", origin)
	}
	return nil
}

// accept opens the websocket that the request asks for. From then on the connection is the handler's, who must close it.
func (c *call) accept(limit int64) (*websocket.Conn, error) {
	c.mark(c.w.Header())
	conn, err := websocket.Accept(c.w, c.r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // the origin was checked by the agent that the client asked
	})
	if err != nil {
		return nil, NewError(CodeInvalid, "", "open a websocket: %s", err)
	}
	conn.SetReadLimit(limit)
	return conn, nil
}

// passUpgrade connects the client to the agent that has switched to a websocket, until one of them ends it.
func (c *call) passUpgrade(res *http.Response) {
	there, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	ctx, cancel := c.untilClosing()
	defer cancel()
	here, buf, err := c.w.rc.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2, or the client is gone
	}
	c.w.code = "101"
	var wg sync.WaitGroup
	defer wg.Wait()
	end := sync.OnceFunc(func() { // nothing is lost: what one side has sent was passed on
		_ = here.Close()
		_ = there.Close()
	})
	defer end()
	defer context.AfterFunc(ctx, end)()
	head := *res
	head.Body = nil
	err = here.SetWriteDeadline(time.Now().Add(lastWords))
	if err == nil {
		err = head.Write(buf)
	}
	if err == nil {
		err = buf.Flush()
	}
	if err != nil || here.SetWriteDeadline(time.Time{}) != nil {
		return
	}
	wg.Go(func() {
		defer end()
		_, _ = io.Copy(there, buf.Reader) // ends when either does
	})
	_, _ = io.Copy(here, there) // ends when either does
}
