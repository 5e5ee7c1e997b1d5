#!/bin/sh
# The page: who answered, and who asked. httpd runs it for / because there is no index.html.

printf 'Content-Type: text/plain; charset=utf-8\r\n\r\n'
cat <<PAGE
${WEBD_TITLE:-webd}: this answer comes from inside a container.

  container   $(hostname)
  address     $(hostname -i 2>/dev/null)
  system      $(uname -sm), $(busybox | head -n 1 | cut -d' ' -f1-2)
  asked by    ${REMOTE_ADDR:-unknown}
  time        $(date -u '+%Y-%m-%d %H:%M:%S UTC')
PAGE
