#!/usr/bin/env python3
"""Instructions that the proxy spends in user space for one request, counted by callgrind: the same on a noisy machine.

usage: benches/instructions/measure.py [--binary PATH] [--keep DIR] [WORKLOAD ...]

Needs valgrind, nginx and h2load (Debian: valgrind nginx-light nghttp2-client). Without --binary it builds a release
with line numbers. With --keep the profiles stay in DIR, one for each workload, to be read with callgrind_annotate.

The proxy runs as it ships, with metrics, probes and leases on, and with one worker. Each workload is run once to warm
up, then counted. The kernel's share is not seen here: compare proxies by CPU per request, and two builds of this one
by these figures. Two runs differ by less than one per cent.
"""
import argparse, glob, os, queue, re, signal, socket, subprocess, sys, tempfile, threading, time, urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ANSWER = '{"model_name":"iris","model_version":"1","outputs":[{"name":"predict","shape":[1],"datatype":"INT64","data":[2]}]}'
QUESTION = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'
TOKENS = 1000
H1, H2 = ['--h1', '-c8'], ['-c4', '-m8']
# name: what h2load is told, the path, and whether it is a POST. A POST that may not be sent again has a row of its own,
# because the connection that it goes out on is looked at once more. "connection" is one with a single GET, from accept
# to close. Those without a tuple have clients of their own.
WORKLOADS = {
    'GET':              (H1, '/h1/small', False),
    'POST, inference':  (H1, '/h1/v2/models/iris/infer', True),
    'POST, other':      (H1, '/h1/small', True),
    'h2c in, h1 out':   (H2, '/h1/small', False),
    'h2c in, h2c out':  (H2, '/h2/small', False),
    'SSE token':        None,
    'connection':       None,
}
AT_ONCE = 8

NGINX = '''
worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log {dir}/nginx.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 1m;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  server {{ listen 127.0.0.1:{h1}; default_type application/json; location / {{ return 200 '{answer}'; }} }}
  server {{ listen 127.0.0.1:{h2} http2; default_type application/json; location / {{ return 200 '{answer}'; }} }}
}}
'''

PROXY = '''
version = 1
[proxy]
listen = "127.0.0.1:{listen}"
workers = 1
[admin]
listen = "127.0.0.1:{admin}"
[state]
dir = "state"
[log]
filter = "error"
'''

SERVICE = '''
[[service]]
name = "{name}"
match = {{ path_prefix = "/{name}" }}
[service.blue]
endpoints = ["{url}"]
[service.green]
endpoints = ["{url}"]
[service.health]
path = "/small"
'''


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class TokenOrigin(threading.Thread):
    """Streams tokens, each one only when the client has the one before: so one token is one round of the proxy."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.create_server(('127.0.0.1', 0))
        self.port = self.socket.getsockname()[1]
        self.taken = queue.Queue()

    def run(self):
        while True:
            conn, _ = self.socket.accept()
            threading.Thread(target=self.answer, args=(conn,), daemon=True).start()

    def answer(self, conn):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (head := conn.recv(65536)):
            if b' /sse/stream' not in head:
                conn.sendall(b'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')
                continue
            conn.sendall(b'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n')
            for number in range(TOKENS + 1):
                token = b'data: {"choices":[{"delta":{"content":"token %04d"}}]}\n\n' % number
                conn.sendall(b'%x\r\n%s\r\n' % (len(token), token))
                self.taken.get()
            conn.sendall(b'0\r\n\r\n')

    def stream(self, port, count):
        """Reads a whole stream; calls `count` when the first token is here, so that the head is not counted."""
        with socket.create_connection(('127.0.0.1', port)) as conn:
            conn.sendall(b'GET /sse/stream HTTP/1.1\r\nhost: bench\r\n\r\n')
            seen, text = 0, b''
            while seen <= TOKENS:
                text = text[-16:] + conn.recv(65536)
                if b'token %04d' % seen in text:
                    if seen in (0, TOKENS):
                        count()
                    seen += 1
                    self.taken.put(None)


def callgrind(binary, config, profile):
    return subprocess.Popen(['valgrind', '-q', '--tool=callgrind', '--compress-strings=no', f'--callgrind-out-file={profile}',
                             binary, 'run', '--config', config], stderr=subprocess.DEVNULL)


def cut(process):
    """Ends one count of callgrind's and begins the next."""
    quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
    subprocess.run(['callgrind_control', '--dump', str(process.pid)], check=True, **quiet)


def last_count(profile):
    newest = max(glob.glob(profile + '.*'), key=lambda name: int(name.rsplit('.', 1)[1]))
    with open(newest) as file:
        return int(re.search(r'^(?:summary|totals): (\d+)', file.read(), re.M).group(1)), newest


def requests(port, workload, number, body):
    options, path, is_post = workload
    upload = ['-d', body] if is_post else []
    done = subprocess.run(['h2load', *options, f'-n{number}', *upload, f'http://127.0.0.1:{port}{path}'],
                          capture_output=True, text=True).stdout
    if f'{number} 2xx' not in done:
        sys.exit(f'not every request was answered:\n{done}')


def connections(port, number):
    """Connections with one request each, some at once."""
    for _ in range(number // AT_ONCE):
        clients = [socket.create_connection(('127.0.0.1', port)) for _ in range(AT_ONCE)]
        for client in clients:
            client.sendall(b'GET /h1/small HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n')
        for client in clients:
            with client, client.makefile('rb') as answer:
                if not answer.read().startswith(b'HTTP/1.1 200 '):
                    sys.exit('not every connection was answered')


def wait_until_serving(port, process):
    for _ in range(600):
        try:
            return [urllib.request.urlopen(f'http://127.0.0.1:{port}/{name}/small').read() for name in ('h1', 'h2', 'sse')]
        except OSError:
            if process.poll() is not None:
                sys.exit('the proxy did not start')
            time.sleep(0.1)
    sys.exit('the proxy does not serve')


def build():
    subprocess.run(['cargo', 'build', '--release', '--bin', 'verdigris'], cwd=ROOT, check=True)
    target = os.environ.get('CARGO_TARGET_DIR', os.path.join(ROOT, 'target'))
    return os.path.join(target, 'release', 'verdigris')


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument('--binary')
    options.add_argument('--keep')
    options.add_argument('--requests', type=int, default=2000)
    options.add_argument('workloads', nargs='*', metavar='WORKLOAD')
    options = options.parse_args()
    binary = options.binary or build()
    with tempfile.TemporaryDirectory() as scratch:
        measure(options, os.path.abspath(binary), scratch)


def measure(options, binary, scratch):
    ports = {name: free_port() for name in ('h1', 'h2', 'listen', 'admin')}
    tokens = TokenOrigin()
    tokens.start()
    paths = {name: os.path.join(scratch, name) for name in ('nginx.conf', 'proxy.toml', 'question', 'profile')}
    urls = {'h1': f'http://127.0.0.1:{ports["h1"]}', 'h2': f'h2c://127.0.0.1:{ports["h2"]}', 'sse': f'http://127.0.0.1:{tokens.port}'}
    with open(paths['nginx.conf'], 'w') as file:
        file.write(NGINX.format(dir=scratch, answer=ANSWER, **ports))
    with open(paths['proxy.toml'], 'w') as file:
        file.write(PROXY.format(**ports) + ''.join(SERVICE.format(name=name, url=url) for name, url in urls.items()))
    with open(paths['question'], 'wb') as file:
        file.write(QUESTION)
    origin = subprocess.Popen(['nginx', '-e', os.path.join(scratch, 'nginx.log'), '-c', paths['nginx.conf']])
    proxy = callgrind(binary, paths['proxy.toml'], paths['profile'])
    try:
        wait_until_serving(ports['listen'], proxy)
        print(f'{"":18}{"instructions":>14}')
        for name in options.workloads or WORKLOADS:
            number = options.requests
            if name == 'SSE token':
                tokens.stream(ports['listen'], lambda: cut(proxy))
                number = TOKENS
            elif name == 'connection':
                connections(ports['listen'], 200)
                cut(proxy)
                connections(ports['listen'], number)
                cut(proxy)
            else:
                requests(ports['listen'], WORKLOADS[name], 200, paths['question'])
                cut(proxy)
                requests(ports['listen'], WORKLOADS[name], number, paths['question'])
                cut(proxy)
            count, profile = last_count(paths['profile'])
            print(f'{name:18}{count // number:14,}', flush=True)
            if options.keep:
                os.makedirs(options.keep, exist_ok=True)
                kept = re.sub(r'[^a-z0-9]+', '-', name.lower())
                with open(profile) as source, open(os.path.join(options.keep, kept + '.callgrind'), 'w') as target:
                    target.write(source.read())
    finally:
        for process in (proxy, origin):
            process.send_signal(signal.SIGTERM)
            process.wait()


if __name__ == '__main__':
    main()
