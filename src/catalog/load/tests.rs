use super::*;

/// Ids, names and prices, with a bar between them.
fn read_all(bytes: &[u8]) -> Result<Vec<String>, Wrong> {
    let shown = |product: &Product| format!("{}|{}|{}", product.id, product.name, product.price);
    Ok(products(bytes)?.0.iter().map(shown).collect())
}

fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(unit).collect()
}

#[test]
fn names_stay_as_they_are() {
    let text = "appid,name,price\r\n1,\"a, \"\"b\"\"\",1\r\n2, Trailing ,0.0\r\n3,-1º ñ 本,2.50\r\n";
    assert_eq!(read_all(text.as_bytes()).unwrap(), ["1|a, \"b\"|1", "2| Trailing |0.0", "3|-1º ñ 本|2.50"]);
}

#[test]
fn what_spreadsheets_and_shops_write_is_taken() {
    let lamp = ["10|Lámpara|1.20"];
    let plain = "appid,name,price\r\n10,Lámpara,1.20\r\n";
    for text in [
        plain,
        "\u{feff}appid,name,price\n10,Lámpara,1.20",
        // line ends of every kind, empty lines, emptied rows
        "appid,name,price\r10,Lámpara,1.20\r",
        "\n\nappid,name,price\n\n10,Lámpara,1.20\n\n,,\n , ,\n",
        // what a spreadsheet with Spanish settings writes
        "appid;name;price\r\n10;Lámpara;1,20\r\n",
        "sep=;\r\nappid;name;price\r\n10;Lámpara;1.20\r\n",
        "SEP=,\nappid,name,price\n10,Lámpara,1.20\n",
        "\u{feff}sep=\t\r\nappid\tname\tprice\r\n10\tLámpara\t1,20\r\n",
        "appid\tname\tprice\n10\tLámpara\t1.20\n",
        "appid|name|price\n10|Lámpara|1.20\n",
        "\"appid\";\"name\";\"price\"\n\"10\";\"Lámpara\";\"1,20\"\n",
        "appid,name,price\n10,Lámpara,\"1,20\"\n",
        // blanks around keys, prices and names of columns; names in another case, order or company
        "appid,name,price\n10 ,Lámpara, 1.20 \n",
        "appid,name,price\n\u{a0}10\u{200b},Lámpara,\u{a0}1.20\n",
        " AppID , Name,PRICE\n10,Lámpara,1.20\n",
        "name,price,appid\nLámpara,1.20,10\n",
        "appid,name,release_date,owners,price\n10,Lámpara,2000-11-01,\"1,2\",1.20\n",
    ] {
        assert_eq!(read_all(text.as_bytes()).unwrap(), lamp, "{text:?}");
    }
    let little = [&[0xff, 0xfe][..], &utf16(plain, u16::to_le_bytes)].concat();
    let big = [&[0xfe, 0xff][..], &utf16(plain, u16::to_be_bytes)].concat();
    assert_eq!(
        (read_all(&little).unwrap(), read_all(&big).unwrap()),
        (lamp.map(String::from).into(), lamp.map(String::from).into())
    );
}

#[test]
fn rows_count_products_alone() {
    let text = "\nsep=;\nappid;name;price\n\n7;Uno;1\n;;\n8;Dos;2\n".trim_start();
    assert_eq!(read_all(text.as_bytes()).unwrap(), ["7|Uno|1", "8|Dos|2"]);
}

#[test]
fn says_where_and_what_is_wrong() {
    let cases: [(&[u8], u64, &str); 31] = [
        (b"", 1, "the file is empty"),
        (b"\n\n", 1, "the file is empty"),
        (b"sep=;\n", 1, "the file is empty"),
        (b"appid,name,price\n", 2, "no product"),
        (b"appid;name;price\n;;\n", 2, "no product"),
        (b"1,Uno,1.0\n", 1, "the header must have the columns appid,name,price, it is \"1,Uno,1.0\""),
        (b"appid,name\n1,Uno\n", 1, "missing price"),
        (b"appid,name,price,Price\n1,Uno,1,1\n", 1, "two columns price"),
        (b"appid,name,price\n1,Uno\n", 2, "3 columns (appid,name,price), here are 2"),
        (b"appid,name,price\n1,Uno,1\n2,Dos, tres,3\n", 3, "what has the separator in it needs quotes"),
        (b"appid,name,price\n1,Uno,7,99\n", 2, "here are 4"),
        (b"appid;name;price\n1,Uno,7.99\n", 2, "3 columns (appid,name,price), here are 1"),
        (b"appid,name,price\n1,Uno,-7.99\n", 2, "price: must be a decimal number"),
        (b"appid;name;price\n1;Uno;1.234,50\n", 2, "without sign or currency; it is 1.234,50"),
        (b"appid;name;price\n1;Uno;1,234\n", 2, "it is 1,234"),
        ("appid;name;price\n1;Uno;12,50 €\n".as_bytes(), 2, "it is 12,50 €"),
        (b"appid,name,price\n1,Uno,$5\n", 2, "it is $5"),
        (b"appid,name,price\n1,Uno,\n", 2, "it is empty"),
        (b"appid,name,price\n,Uno,1\n", 2, "appid: must have"),
        (b"appid,name,price\n1,,1\n", 2, "name: must have"),
        (b"appid,name,price\n4.00638E+12,Uno,1\n", 2, "shortened by a spreadsheet"),
        (b"appid,name,price\n1,Uno,1\n2,Dos,2\n1 ,Tres,3\n", 4, "\"1\" appears twice, first in line 2"),
        (b"appid,name,price\r1,Uno,1\r2,Dos,x\r", 3, "it is x"),
        (b"appid,name,price\n1,Uno,1\n2,D\xf3s,2\n", 3, "perhaps Windows-1252: save it as \"CSV UTF-8\""),
        (b"a\0p\0p\0i\0d\0", 1, "UTF-16"),
        (b"\xff\xfea\0p\0p", 1, "not valid UTF-16"),
        (b"PK\x03\x04\x14\0\x06\0", 1, "a spreadsheet's own format"),
        (b"appid,name,price\n1,\"Uno,1\n2,Dos,2\n", 2, "columns"),
        // the headers of Shopify, WooCommerce and PrestaShop
        (
            b"Handle,Title,Vendor,Variant SKU,Variant Price\n",
            1,
            "missing appid (rename \"Handle\"?), name (rename \"Title\"?), price (rename \"Variant Price\"?)",
        ),
        (
            b"\xef\xbb\xbfID,Type,SKU,Name,Published,Regular price\n",
            1,
            "missing appid (rename \"ID\"?), price (rename \"Regular price\"?)",
        ),
        (
            b"Product ID;Active (0/1);Name *;Price tax included\n",
            1,
            "missing appid (rename \"Product ID\"?), name (rename \"Name *\"?), price",
        ),
    ];
    for (bytes, line, what) in cases {
        let (at, text) = products(bytes).unwrap_err();
        assert!(at == line && text.contains(what), "{:?}: line {at}: {text}", String::from_utf8_lossy(bytes));
    }
}
