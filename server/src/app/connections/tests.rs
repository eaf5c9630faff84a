use super::*;

fn address(last: u8) -> Option<IpAddr> {
    Some(IpAddr::from([192, 0, 2, last]))
}

#[test]
fn what_the_system_allows_bounds_what_settings_ask_for_and_no_address_takes_all_of_it() {
    let of = |files, most| {
        let Limits { ordinary, per_address, .. } = Limits::new(files, most, 1000);
        (ordinary, per_address)
    };
    assert_eq!(of(Some(1_048_576), 100_000), (100_000, 4000));
    assert_eq!(of(Some(1024), 100_000), (768, 384));
    assert_eq!(of(Some(64), 100_000), (1, 1));
    assert_eq!(Limits::new(None, 500, 10).ordinary, 500);
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_requests_behind_a_proxy_count_by_their_client() {
    let proxies = vec!["192.0.2.200/32".parse().unwrap()];
    let connections = Connections::new(Limits { ordinary: 100, reserve: 8, per_address: 2 }, proxies);
    let mut taken: Vec<_> = (0..2).map(|_| connections.admit(address(1)).unwrap()).collect();
    assert_eq!(connections.admit(address(1)).map(drop), Err(Full::Address));
    assert!(connections.admit(address(2)).is_ok());
    for exempt in [Some(IpAddr::from([127, 0, 0, 1])), address(200)] {
        taken.extend((0..5).map(|_| connections.admit(exempt).unwrap()));
    }
    // A claim of an exempt address exempts nobody, and one that no proxy makes counts for nothing.
    let loopback = Some(IpAddr::from([127, 0, 0, 1]));
    let places: Vec<_> = (0..2).map(|_| connections.admit_request(address(200), loopback).unwrap()).collect();
    assert!(places.iter().all(Option::is_some));
    assert_eq!(connections.admit_request(address(200), loopback).map(drop), Err(Full::Address));
    assert!(connections.admit_request(address(9), loopback).unwrap().is_none());
    drop(places);
    assert!(connections.admit_request(address(200), loopback).is_ok());
    // A socket is counted elsewhere.
    let connection = Connection::new(taken.swap_remove(0));
    connection.becomes_socket();
    assert!(connections.admit(address(1)).is_ok());
    drop((taken, connection));
    let table = connections.inner.table();
    assert_eq!((table.by_address.len(), connections.inner.open.load(Ordering::Relaxed)), (0, 0));
}

#[tokio::test]
async fn a_network_of_ipv6_has_a_limit_however_many_addresses_connect() {
    let connections = Connections::new(Limits { ordinary: 1000, reserve: 8, per_address: 2 }, Vec::new());
    let address = |subnet: u16| Some(IpAddr::from([0x2001, 0xdb8, 1, subnet, 0, 0, 0, 1]));
    let tickets: Vec<_> = (0..100).filter_map(|subnet| connections.admit(address(subnet)).ok()).collect();
    assert_eq!(tickets.len(), 16, "one /48");
    drop(tickets);
    assert!(connections.inner.table().by_address.is_empty());
}

#[tokio::test]
async fn beyond_the_ordinary_places_the_oldest_makes_room_for_the_newest() {
    let connections = Connections::new(Limits { ordinary: 2, reserve: 8, per_address: 1000 }, Vec::new());
    let ordinary: Vec<_> = (0..2).map(|_| connections.admit(address(1)).unwrap()).collect();
    assert!(ordinary.iter().all(|ticket| ticket.spare.is_none()) && connections.is_short());
    let spare: Vec<_> = (0..8).map(|_| Connection::new(connections.admit(address(1)).unwrap())).collect();
    let _newest = connections.admit(address(1)).unwrap();
    assert_eq!(spare[0].watch().await, "reserve");
    // The next is not told to go before one more comes; one that became a socket is not told at all.
    let early = tokio::time::timeout(Duration::ZERO, spare[1].watch()).await;
    assert!(early.is_err());
    spare[1].becomes_socket();
    let _two_more = [connections.admit(address(1)).unwrap(), connections.admit(address(1)).unwrap()];
    assert_eq!(spare[2].watch().await, "reserve");
    drop(ordinary);
    drop(spare);
    assert!(connections.is_short(), "three are there still");
}

#[tokio::test(start_paused = true)]
async fn a_client_is_late_when_it_begins_a_request_and_does_not_end_it_or_does_not_read() {
    let connections = Connections::new(Limits { ordinary: 10, reserve: 8, per_address: 1000 }, Vec::new());
    let connect = || Rc::new(Connection::new(connections.admit(address(1)).unwrap()));
    let silent = connect();
    let began = Instant::now();
    assert_eq!(silent.watch().await, "head");
    assert!(began.elapsed() <= HEAD_TIMEOUT + 2 * TICK);
    // A second request that was begun and not ended.
    let second = connect();
    drop(second.begin());
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(second.overdue(Instant::now()), None, "idle");
    second.heard();
    tokio::time::advance(HEAD_TIMEOUT + TICK).await;
    assert_eq!(second.overdue(Instant::now()), Some("head"));
    // While a request is answered, however long that takes, nothing is late; nor while its answer is read.
    let busy = connect();
    let answering = busy.begin();
    busy.heard();
    tokio::time::advance(Duration::from_secs(300)).await;
    assert_eq!(busy.overdue(Instant::now()), None);
    busy.blocked();
    drop(answering);
    for _ in 0..5 {
        tokio::time::advance(READER_WINDOW).await;
        busy.wrote(100_000);
        busy.blocked();
        assert_eq!(busy.overdue(Instant::now()), None, "a slow reader");
    }
    tokio::time::advance(READER_WINDOW).await;
    busy.wrote(1000);
    busy.blocked();
    assert_eq!(busy.overdue(Instant::now()), Some("reader"));
}
